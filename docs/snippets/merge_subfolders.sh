fieldguide train by-camera/ --merge-subfolders
