"""Files that put a model into service: for Docker, Compose, Kubernetes, KServe and AWS Lambda."""

from outgrow.deploy.write import TARGETS as TARGETS
from outgrow.deploy.write import deploy as deploy
