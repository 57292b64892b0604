"""What drives a show: the newest values of a stream as numbers, and what keeps light from doing harm."""
