"""The tumour classifier: training, testing, classifying one image, and the study's scenarios."""
