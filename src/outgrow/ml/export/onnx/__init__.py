"""Fitted models as ONNX graphs, built operator by operator so that they compute what outgrow computes."""
