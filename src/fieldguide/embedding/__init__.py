"""Pictures into embeddings, through OpenVINO. TensorFlow is never imported here."""
