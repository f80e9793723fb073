"""The gallery: contact sheets of what the embedded renderer draws, and the page that shows them."""
