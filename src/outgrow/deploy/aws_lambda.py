"""A container image for AWS Lambda, which answers with the predictor that starts quickly."""

from __future__ import annotations

from outgrow.deploy.docker import image_files
from outgrow.deploy.plan import Plan
from outgrow.deploy.texts import HEAD, as_lines, as_yaml

_HANDLER = '''"""Answers the events of a function URL or an API Gateway, and bodies of requests themselves."""

from pathlib import Path

from outgrow.serve.lean import LambdaHandler

# loaded while the function starts, not with its first request
handler = LambdaHandler(Path(__file__).parent / "model")
'''
_LEAST_MEBIBYTES = 256


def lambda_files(plan: Plan) -> dict[str, str]:
    """The image, its handler, and a template for AWS SAM."""
    recipe = [
        f"FROM public.ecr.aws/lambda/python:{plan.needs.python}",
        "COPY requirements.txt /tmp/requirements.txt",
        "COPY wheels /tmp/wheels",
        "RUN pip install --no-cache-dir --find-links /tmp/wheels -r /tmp/requirements.txt",
        "COPY model /var/task/model",
        "COPY handler.py /var/task/handler.py",
        'CMD ["handler.handler"]',
    ]
    properties = {
        "PackageType": "Image",
        "MemorySize": max(_LEAST_MEBIBYTES, plan.needs.limit_mebibytes),
        "Timeout": 30,
        "Architectures": ["x86_64"],
        "FunctionUrlConfig": {"AuthType": "AWS_IAM"},
    }
    function = {
        "Type": "AWS::Serverless::Function",
        "Properties": properties,
        "Metadata": {"Dockerfile": "Dockerfile", "DockerContext": ".", "DockerTag": plan.version},
    }
    template = {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Transform": "AWS::Serverless-2016-10-31",
        "Resources": {"Model": function},
    }
    return {
        **image_files(plan),
        "Dockerfile": as_lines(recipe),
        "handler.py": HEAD + _HANDLER,
        "template.yaml": as_yaml(template),
    }
