"""`outgrow federate server` and `outgrow federate site`."""

from __future__ import annotations

from typing import Annotated

import typer

from outgrow.cli.app import app
from outgrow.cli.options import Debug, Overwrite, let_import_beside
from outgrow.cli.screen import progress, say

federate = typer.Typer(help="Fit a model over sites that keep their rows.", no_args_is_help=True)
app.add_typer(federate, name="federate")
JobFile = Annotated[str, typer.Argument(metavar="JOB.yaml", help="The job file, alike at all ends.")]
TlsFolder = Annotated[str | None, typer.Option("--tls", help="Folder of cert.pem, key.pem and ca.pem.")]
Secure = Annotated[bool, typer.Option("--secure", help="Hide each site's statistics behind masks.")]
Joining = Annotated[float, typer.Option(help="Seconds within which all must be there.")]
Deadline = Annotated[float, typer.Option(help="Seconds of silence after which another end is lost.")]


@federate.command("server")
def _federate_server(
    job: JobFile,
    sites: Annotated[str, typer.Option(help="Names of the sites that shall come, like north,south.")],
    listen: Annotated[str, typer.Option(help="Where they call: host:port.")] = "0.0.0.0:7070",
    tls: TlsFolder = None,
    secure: Secure = False,
    joining: Joining = 600.0,
    deadline: Deadline = 60.0,
    patience: Annotated[float, typer.Option(help="Seconds within which all must finish a pass.")] = 3600.0,
    quorum: Annotated[float, typer.Option(help="Share of the sites with which rounds go on.")] = 1.0,
    overwrite: Overwrite = False,
    debug: Debug = False,
) -> None:
    """Wait for the sites, lead the fit, save the model. The secret is in OUTGROW_SECRET."""
    from outgrow.job.federate import Waits, serve_federation
    from outgrow.job.load import load_job

    let_import_beside(job)
    names = [name.strip() for name in sites.split(",")]
    with progress():
        waits = Waits(joining, deadline, patience, quorum)
        result = serve_federation(
            load_job(job),
            names,
            listen,
            tls=tls,
            secure=secure,
            waits=waits,
            overwrite=overwrite,
        )
    say(repr(result))


@federate.command("site")
def _federate_site(
    job: JobFile,
    server: Annotated[str, typer.Option(help="The server: host:port. The only connection, and outward.")],
    name: Annotated[str, typer.Option(help="Of this site, as the server expects it.")],
    data: Annotated[str | None, typer.Option(help="A path in place of the job's data.")] = None,
    audit: Annotated[str | None, typer.Option(help="Append to this file what leaves, as JSON lines.")] = None,
    allow_value: Annotated[list[str] | None, typer.Option(help="May leave, like TextCounts; or all.")] = None,
    least_rows: Annotated[int, typer.Option(help="With fewer rows it takes no part.")] = 10,
    output: Annotated[str | None, typer.Option("-o", "--output", help="Save the model here, too.")] = None,
    overwrite: Overwrite = False,
    tls: TlsFolder = None,
    secure: Secure = False,
    joining: Joining = 600.0,
    deadline: Deadline = 60.0,
    debug: Debug = False,
) -> None:
    """Take part with the rows of this site, which stay here. The secret is in OUTGROW_SECRET."""
    from outgrow.job.federate import Waits, join_federation
    from outgrow.job.load import load_job

    let_import_beside(job)
    model = join_federation(
        load_job(job),
        name,
        server,
        data=data,
        audit=audit,
        allow_values=True if allow_value == ["all"] else (allow_value or False),
        least_rows=least_rows,
        tls=tls,
        secure=secure,
        waits=Waits(joining, deadline),
    )
    if output is not None:
        model.save(output, overwrite=overwrite)
    say(f"The model of all sites is fitted{'' if output is None else f' and saved in {output}'}.")
