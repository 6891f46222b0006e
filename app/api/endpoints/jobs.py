"""/v1/jobs: the last known state of a job."""

from typing import Self

from flask import Response
from pydantic import BaseModel, ConfigDict, Field

from app.api.auth.authentication import tenant
from app.api.input.blueprint import Routes, json_answer
from app.api.middleware.errors import NoSuchId
from app.api.schemas.events import EndedJobDetails, UnresolvedView
from app.api.schemas.fields import Moment
from app.api.schemas.registrations import JobId, named_project
from app.config.live_config import LiveConfig
from app.store.jobs import Jobs, KnownJob


class JobPath(BaseModel):
    job_id: JobId


class JobQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    project: str | None = Field(None, description="May be omitted if there is only one.")


class KnownJobView(EndedJobDetails, UnresolvedView):
    project: str
    observed_at: Moment | None = Field(description="When the bridge saw the job's end.")

    @classmethod
    def of(cls, project: str, known: KnownJob) -> Self:
        unresolved = known.job.unresolved.as_dict() if known.job.unresolved else {}
        return cls(**known.job.as_dict(), **unresolved, project=project, observed_at=known.observed_at)

    def as_answer(self) -> str:
        return self.model_dump_json(exclude=None if self.reason else set(UnresolvedView.model_fields))


class JobViews:
    def __init__(self, jobs: Jobs, config: LiveConfig) -> None:
        self._jobs = jobs
        self._config = config

    def routes(self) -> Routes:
        routes = Routes("jobs")
        routes.get("/jobs/<job_id>", responses={200: KnownJobView})(self.get_job)
        return routes

    def get_job(self, path: JobPath, query: JobQuery) -> Response:
        """Returns the last known state of a job that this tenant has registered."""
        project = named_project(query.project, self._config.projects_of(tenant()), "/query/project")
        known = self._jobs.get(tenant(), project, path.job_id)
        if known is None:
            raise NoSuchId
        return json_answer(KnownJobView.of(project, known).as_answer())
