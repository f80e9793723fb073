"""ICT-FaceKit made into a head of ours: joints, one UV map, classes, landmarks, worn parts."""
