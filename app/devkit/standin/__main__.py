"""`python -m app.devkit.standin`: prints the URL and the credentials, then serves the stand-in."""

from dataclasses import asdict
from datetime import timedelta

import click
from flask import Flask, Response

from app.devkit.serving import Address, bind_option, new_app, serve
from app.devkit.standin.cloud import Cloud
from app.devkit.standin.control import Control
from app.devkit.standin.cph import CphApi
from app.devkit.standin.gateway import Gateway
from app.devkit.standin.host_keys import HostKeys
from app.devkit.standin.iam import IamApi
from app.devkit.standin.refusal import CallRefused
from app.devkit.standin.submissions import Submissions


@click.command()
@bind_option
@click.option("--token-life-s", type=click.FloatRange(min=0), default=86_400, show_default=True)
def main(bind: Address, token_life_s: float) -> None:
    """Serves the CPH and IAM stand-in for trials and tests."""
    cloud = Cloud.with_tokens_for(timedelta(seconds=token_life_s))
    token, _ = cloud.tokens.issue(cloud.clock.now())
    serve(create_app(cloud), bind, {"token": token, **asdict(cloud.account)})


def create_app(cloud: Cloud) -> Flask:
    app = new_app()
    gateway = Gateway(cloud)
    apis = (CphApi(cloud, gateway), Submissions(cloud, gateway), IamApi(cloud), HostKeys(cloud), Control(cloud))
    for api in apis:
        app.register_blueprint(api.routes())
    app.register_error_handler(CallRefused, CallRefused.answer)
    app.register_error_handler(404, _no_such_api)
    return app


def _no_such_api(_: Exception) -> Response:
    return CallRefused(404, "APIGW.0101", "The API does not exist or has not been published.").answer()


if __name__ == "__main__":
    main()
