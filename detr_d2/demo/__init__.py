"""Run a trained model on images, videos and cameras, and give what it finds to several outputs."""
