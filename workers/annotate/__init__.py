"""One label a file, pure: mesh, camera and fragments in, one annotation out."""
