"""Regions and the hosts of CPH and IAM there."""

import pytest

from app.domain.region import WITH_CPH, check_region, cph_endpoint, doubt_about, iam_endpoint


@pytest.mark.parametrize(
    ("region", "cph", "iam"),
    [
        ("cn-north-4", "cph.cn-north-4.myhuaweicloud.com", "iam.cn-north-4.myhuaweicloud.com"),
        ("af-north-1", "cph.af-north-1.myhuaweicloud.com", "iam.myhuaweicloud.com"),
        ("ru-northwest-2", "cph.ru-northwest-2.myhuaweicloud.com", "iam.myhuaweicloud.com"),
        ("eu-west-101", "cph.eu-west-101.myhuaweicloud.eu", "iam.eu-west-101.myhuaweicloud.eu"),
    ],
)
def test_a_login_goes_to_the_host_that_iam_has_for_the_region(region: str, cph: str, iam: str) -> None:
    assert (cph_endpoint(region), iam_endpoint(region)) == (f"https://{cph}", f"https://{iam}")


def test_the_regions_of_cph_raise_no_doubt() -> None:
    assert len(WITH_CPH) == 13
    assert [region for region in WITH_CPH if doubt_about(check_region(region))] == []


@pytest.mark.parametrize(
    ("region", "told"),
    [
        ("ap-southeast-11", "did you mean ap-southeast-1? CPH is in af-north-1, "),
        ("cn-nroth-4", "did you mean cn-north-4? "),
        ("eu-west-101", "CPH is in af-north-1, "),
        ("somewhere", "CPH is in af-north-1, "),
    ],
)
def test_a_region_without_cph_is_told_with_the_nearest_name(region: str, told: str) -> None:
    doubt = doubt_about(check_region(region)) or ""
    assert doubt.startswith(told)
    assert doubt.endswith("for a partner cloud set the endpoints of CPH and IAM instead")


@pytest.mark.parametrize("zone", ["cn-north-4a", "ap-southeast-1b"])
def test_an_availability_zone_is_told_from_its_region(zone: str) -> None:
    with pytest.raises(ValueError, match=f"is an availability zone; its region is {zone[:-1]}$"):
        check_region(zone)


@pytest.mark.parametrize(
    "name", ["CN-North-4", "cn north 4", " cn-north-4", "cn_north_4", "https://cph.cn-north-4.example", "", "-", "a--b"]
)
def test_what_no_region_is_called_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is not the id of a region such as ap-southeast-1"):
        check_region(name)
