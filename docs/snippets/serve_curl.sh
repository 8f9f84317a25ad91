curl -H "Content-Type: image/jpeg" --data-binary @photo.jpg http://127.0.0.1:8000/v1/predict
curl -F files=@photos/cats-0.jpg -F files=@photos/dogs-0.jpg http://127.0.0.1:8000/v1/predict
curl http://127.0.0.1:8000/v1/model
