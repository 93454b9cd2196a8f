"""Fitted models as others run them: ONNX files, and objects of scikit-learn. Equal, or refused by name."""
