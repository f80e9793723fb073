"""Make the bucket of an s3:// URL if it is not there. AWS_* variables lead to the store.

Usage: make_bucket.py s3://BUCKET[/PREFIX]
"""

from __future__ import annotations

import sys
from urllib.parse import urlsplit

import boto3
from botocore.exceptions import ClientError


def make_bucket(url: str) -> None:
    """Make the bucket; one that is ours already is left as it is.

    Raises:
        ValueError: `url` names no bucket.
        botocore.exceptions.ClientError: the store refuses.
    """
    parts = urlsplit(url)
    if parts.scheme != "s3" or not parts.netloc:
        raise ValueError(f"{url!r} names no bucket: s3://BUCKET would do")
    client = boto3.client("s3")
    try:
        client.head_bucket(Bucket=parts.netloc)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
            raise
        client.create_bucket(Bucket=parts.netloc)


if __name__ == "__main__":
    make_bucket(sys.argv[1])
