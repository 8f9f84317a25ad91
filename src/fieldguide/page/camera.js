// A picture from the camera, in a dialog.

const $ = (id) => document.getElementById(id);

/** Whether this browser lets this page use a camera: only over TLS, or on the same computer. */
export const hasCamera = () => Boolean(navigator.mediaDevices?.getUserMedia);

/** Shows what the camera sees until it is closed; `onPicture` gets each picture that is taken, as a Blob. */
export async function openCamera(onPicture) {
  let facing = "environment";
  let stream = null;
  const dialog = $("camera-dialog");
  const video = $("video");
  const stop = () => {
    for (const track of stream?.getTracks() ?? []) track.stop();
    stream = null;
    video.srcObject = null;
  };
  const start = async () => {
    stop();
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: facing, width: { ideal: 1280 } }, audio: false });
    video.srcObject = stream;
  };
  await start(); // fails before the dialog opens where there is no camera, or no permission
  $("turn").onclick = () => {
    facing = facing === "user" ? "environment" : "user";
    start().catch(() => {});
  };
  $("shoot").onclick = () => {
    if (!video.videoWidth) return;
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
    canvas.getContext("2d").drawImage(video, 0, 0);
    canvas.toBlob((blob) => {
      dialog.close();
      onPicture(blob);
    }, "image/jpeg", 0.95);
  };
  $("close-camera").onclick = () => dialog.close();
  dialog.onclose = stop;
  dialog.showModal();
}
