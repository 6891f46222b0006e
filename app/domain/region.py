"""Regions of Huawei Cloud: the hosts of CPH and IAM there."""

import re
from difflib import get_close_matches

# Where CPH is offered: huaweicloudsdkcph 3.1.219, v1/region/cph_region.py.
WITH_CPH = (
    *("af-north-1", "ap-southeast-1", "ap-southeast-3", "cn-east-2", "cn-east-3", "cn-east-4", "cn-north-4"),
    *("cn-north-9", "cn-south-1", "cn-southwest-2", "la-north-2", "la-south-2", "ru-northwest-2"),
)
# Regions without an IAM host of their own: huaweicloudsdkiam 3.1.219, v3/region/iam_region.py.
GLOBAL_IAM = frozenset({"af-north-1", "ru-northwest-2"})
DOMAINS = {"eu-west-101": "myhuaweicloud.eu"}
DOMAIN = "myhuaweicloud.com"

REGION = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
ZONE = re.compile(r"([a-z]+(?:-[a-z]+)+-[0-9]+)[a-z]")


def cph_endpoint(region: str) -> str:
    return f"https://cph.{region}.{DOMAINS.get(region, DOMAIN)}"


def iam_endpoint(region: str) -> str:
    if region in GLOBAL_IAM:
        return f"https://iam.{DOMAIN}"
    return f"https://iam.{region}.{DOMAINS.get(region, DOMAIN)}"


def check_region(name: str) -> str:
    """Raises ValueError if no region can have this name."""
    if zone := ZONE.fullmatch(name):
        raise ValueError(f"is an availability zone; its region is {zone[1]}")
    if not REGION.fullmatch(name):
        raise ValueError("is not the id of a region such as ap-southeast-1; a URL is given as the endpoint")
    return name


def doubt_about(region: str) -> str | None:
    """Returns what to tell the operator about a region where CPH is not known to be; None if it is."""
    if region in WITH_CPH:
        return None
    nearest = get_close_matches(region, WITH_CPH, n=1, cutoff=0.8)
    meant = f"did you mean {nearest[0]}? " if nearest else ""
    return f"{meant}CPH is in {', '.join(WITH_CPH)}; for a partner cloud set the endpoints of CPH and IAM instead"
