"""What went wrong at an S3 store, as one of our errors: try again, or give up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from boto3.exceptions import Boto3Error
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
)
from botocore.exceptions import ConnectionError as NoConnectionError
from urllib3.exceptions import HTTPError

from synthforge.storage.protocol import (
    NotFound,
    StorageError,
    StorageRefused,
    StorageUnavailable,
)

_NOT_FOUND: Final = {"404", "NoSuchKey", "NotFound"}
_BEYOND_END: Final = "InvalidRange"
_TRANSIENT_CODES: Final = {
    "BadDigest",
    "OperationAborted",
    "RequestTimeout",
    "SlowDown",
    "TooManyRequests",
    "XAmzContentSHA256Mismatch",
}
_TRANSIENT_STATUS: Final = {408, 409, 412, 425, 429}
_SERVER_FAULT: Final = 500


@contextmanager
def typed_s3_errors(url: str, key: str) -> Iterator[None]:
    """Turn errors of boto3, botocore and urllib3 into ours; the first cause decides.

    Args:
        url: of the prefix, for the message.
        key: that was asked for; may be empty.
    """
    what = f"{url}/{key}" if key else url
    try:
        yield
    except ClientError as error:
        raise of_client_error(what, error) from error
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise StorageRefused(
            f"{what}: no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        ) from error
    except (NoConnectionError, HTTPClientError, IncompleteReadError, HTTPError, OSError) as error:
        raise StorageUnavailable(f"{what}: {_one_line(error)}") from error
    except Boto3Error as error:  # a transfer's own error, around the client's
        cause = error.__cause__ or error.__context__
        if isinstance(cause, ClientError):
            raise of_client_error(what, cause) from error
        raise StorageUnavailable(f"{what}: {_one_line(error)}") from error
    except BotoCoreError as error:
        raise StorageRefused(f"{what}: {_one_line(error)}") from error


def of_client_error(what: str, error: ClientError) -> StorageError:
    """Return our error for a store's answer."""
    answer = error.response.get("Error", {})
    code, message = answer.get("Code", ""), answer.get("Message", "")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in _NOT_FOUND:
        return NotFound(f"{what}: no such object")
    if code in _TRANSIENT_CODES or status >= _SERVER_FAULT or status in _TRANSIENT_STATUS:
        return StorageUnavailable(f"{what}: the store says {status} {code} {message}".rstrip())
    if code == _BEYOND_END:
        return StorageRefused(f"{what}: the range begins beyond the object's end")
    return StorageRefused(f"{what}: the store refuses: {status} {code} {message}".rstrip())


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
