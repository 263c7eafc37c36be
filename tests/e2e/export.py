"""Validates an RO-Crate as a Provenance Run Crate: `python export.py CRATE`. Prints what is wrong, a line each.

Nothing is asked of the network: the context of JSON-LD is that of the package rocrate.
"""

import io
import sys
import urllib.request
import urllib.response
from email.message import Message
from importlib.resources import files

import requests
from requests.adapters import HTTPAdapter
from rocrate_validator import services
from rocrate_validator.models import Severity, ValidationSettings

CONTEXT = (files("rocrate") / "data" / "ro-crate.jsonld").read_bytes()
ADDRESS = "https://w3id.org/ro/crate/1.1/context"


class OfUrllib(urllib.request.HTTPSHandler):
    def https_open(self, request):
        assert request.full_url == ADDRESS, request.full_url
        headers = Message()
        headers["Content-Type"] = "application/ld+json"
        return urllib.response.addinfourl(io.BytesIO(CONTEXT), headers, ADDRESS, 200)


def of_requests(_adapter, request, **_settings):
    assert request.url == ADDRESS, request.url
    response = requests.Response()
    response.status_code, response.url, response.request = 200, ADDRESS, request
    response.headers["Content-Type"] = "application/ld+json"
    response.raw = io.BytesIO(CONTEXT)
    return response


urllib.request.install_opener(urllib.request.build_opener(OfUrllib))
HTTPAdapter.send = of_requests
settings = ValidationSettings(
    rocrate_uri=sys.argv[1],
    profile_identifier="provenance-run-crate-0.5",
    requirement_severity=Severity.REQUIRED,
    no_cache=True,
)
result = services.validate(settings)
for issue in result.get_issues():
    print(f"{issue.check.identifier}: {issue.message}")
