import pytest

from shared.artifacts.store import DraftArtifact
from tests.gateway.pictures import picture

pytestmark = [pytest.mark.services, pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)]

REPORT = {"fid": {"value": 12.5, "n": 64}, "warnings": ["few images", "=cmd()"], "note": "<script>"}


@pytest.fixture
def report(artifacts, objects):
    files = {"chart.png": objects.put_blob(picture(1)), "other.csv": objects.put_blob(b"a,b\n1,2\n")}
    draft = DraftArtifact("report", "evaluation", "first look", {"report": REPORT, "objects": files})
    return artifacts.create(draft, owner="team-a").id


@pytest.fixture
def bare(artifacts):
    draft = DraftArtifact("report", "analysis", "<b>bare</b>", {"report": REPORT})
    return artifacts.create(draft, owner="team-a").id


def test_formats_by_parameter_and_by_header(gateway, keys, report):
    def get(headers=None, **params):
        return gateway.get(f"/reports/{report}", params=params, headers={**keys["reader"], **(headers or {})})

    body = get().json()
    assert body["report"] == REPORT
    assert body["files"]["chart.png"] == f"/reports/{report}/files/chart.png"
    assert get(format="csv").text == "a,b\n1,2\n"
    assert get(headers={"Accept": "text/csv"}).text == "a,b\n1,2\n"
    assert get(format="png").content == picture(1)
    assert get(headers={"Accept": "image/png"}, format="json").json()["report"] == REPORT
    assert get(format="pdf").status_code == 422
    chart = gateway.get(body["files"]["chart.png"], headers=keys["reader"])
    assert (chart.content, chart.headers["content-type"]) == (picture(1), "image/png")
    missing = gateway.get(f"/reports/{report}/files/none", headers=keys["reader"])
    assert (missing.status_code, missing.json()["code"]) == (404, "report_file_not_found")


def test_a_report_without_files_still_reads_as_table_and_page(gateway, keys, bare):
    def get(report_format):
        return gateway.get(f"/reports/{bare}", params={"format": report_format}, headers=keys["reader"])

    table = get("csv").text.splitlines()
    assert table[:3] == ["name,value", "fid.value,12.5", "fid.n,64"]
    assert "warnings[1],'=cmd()" in table
    page = get("html")
    assert "<script>" not in page.text
    assert "&lt;b&gt;bare" in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    refused = get("png")
    assert (refused.status_code, refused.json()["code"]) == (406, "report_format_unavailable")


def test_models_and_reports_are_listed_by_kind(gateway, keys, report, bare, artifacts):
    model = artifacts.create(
        DraftArtifact(
            "model", "diffusion", "m", {"config": {"size": 64}, "card": {"curves": [1.0]}}, tumour_class="glioma"
        ),
        owner="team-a",
    )
    listed = gateway.get("/reports", params={"kind": "analysis"}, headers=keys["alice"]).json()["items"]
    assert [item["id"] for item in listed] == [bare]
    models = gateway.get("/models", params={"class": "glioma"}, headers=keys["alice"]).json()["items"]
    assert [(item["id"], item["class"]) for item in models] == [(model.id, "glioma")]
    assert gateway.get("/models", params={"class": "notumor"}, headers=keys["alice"]).json()["items"] == []
    card = gateway.get(f"/models/{model.id}", headers=keys["alice"]).json()
    assert card["card"] == {"curves": [1.0]}
    assert gateway.get(f"/models/{model.id}", headers=keys["bob"]).json()["code"] == "model_not_found"
    assert gateway.get(f"/models/{report}", headers=keys["alice"]).status_code == 404
