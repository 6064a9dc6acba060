"""psyctl's contracts, and what is this plugin's own."""

import pytest
from psyctl_situations import SituationsConfig, SqliteConfig
from psyctl_situations.sink import Sqlite
from psyctl_situations.source import Situations

from psyctl_core import Context, SkippedRow, UsageError, build_caa, open_dataset
from psyctl_core.testing import FakeBackend, FakePrompter, SinkContract, SourceContract

ROWS = "situation,character\nRain falls on the stop.,Kim\n,Robin\nThe lift is stuck.,Robin\n"


class TestSource(SourceContract):
    """The rules that psyctl relies on in a source."""

    @pytest.fixture(autouse=True)
    def _file(self, tmp_path):
        self.path = tmp_path / "rows.csv"
        self.path.write_text(ROWS, encoding="utf-8")

    def source(self):
        return Situations(SituationsConfig(path=str(self.path)), Context())

    def test_a_row_without_a_character_or_situation_is_counted(self):
        assert next(self.source().scenarios(1)) == SkippedRow(1, "no situation or character")

    def test_a_missing_file_is_asked_for(self):
        with pytest.raises(UsageError, match="No file of situations"):
            Situations(SituationsConfig(), Context())


class TestSink(SinkContract):
    """The rules that psyctl relies on in a sink."""

    def sink(self, folder):
        return Sqlite(SqliteConfig(), Context())


def test_the_whole_job(tmp_path):
    """Source and sink at work, with a fake model; configs are known once the plugin is installed."""
    rows = tmp_path / "rows.csv"
    rows.write_text(ROWS, encoding="utf-8")
    report = build_caa(
        "Openness",
        tmp_path / "out",
        source=SituationsConfig(path=str(rows)),
        sink=SqliteConfig(),
        prompter=FakePrompter(),
        backend=FakeBackend(),
    )
    assert report.datasets[0].pairs == 2
    assert [record.character for record in open_dataset(tmp_path / "out")] == ["Kim", "Robin"]
