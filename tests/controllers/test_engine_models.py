"""Where each engine looks for the model of a task."""

from __future__ import annotations

from pathlib import Path

import pytest

from controllers.base import DeploymentError
from controllers.engines.catalogue import engine
from tuning.domain.failures import FailureKind
from tuning.domain.names import EngineName


class TestModels:
    def locate(self, name: EngineName, model: str, models_dir: Path) -> str:
        return engine(name).locate_model(model, models_dir)

    def gguf(self, path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"GGUF\x03\0\0\0")
        return path

    def test_a_gguf_is_found_below_the_model_directory_and_by_absolute_path(
        self, tmp_path: Path
    ) -> None:
        file = self.gguf(tmp_path / "sub" / "small.gguf")

        for model in ("sub/small.gguf", "sub", str(file)):
            assert self.locate(EngineName.LLAMACPP, model, tmp_path) == str(file)

    def test_a_missing_gguf_comes_with_what_is_there_nearest_first(self, tmp_path: Path) -> None:
        for name in ("aaa.gguf", "small-q4.gguf"):
            self.gguf(tmp_path / name)

        with pytest.raises(DeploymentError, match=r"small-q4\.gguf, aaa\.gguf") as caught:
            self.locate(EngineName.LLAMACPP, "small-q8.gguf", tmp_path)
        assert caught.value.failure.kind is FailureKind.MODEL_MISSING

    def test_what_is_no_gguf_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "x.gguf").write_text("hello", encoding="utf-8")

        with pytest.raises(DeploymentError, match="not a GGUF file"):
            self.locate(EngineName.LLAMACPP, "x.gguf", tmp_path)

    @pytest.mark.parametrize("name", list(EngineName))
    @pytest.mark.parametrize("model", ["../secret.gguf", "a/../../secret.gguf", " "])
    def test_a_relative_path_stays_inside_the_model_directory(
        self, tmp_path: Path, name: EngineName, model: str
    ) -> None:
        self.gguf(tmp_path / "secret.gguf")

        with pytest.raises(DeploymentError, match="nor a path inside"):
            self.locate(name, model, tmp_path / "models")

    def test_an_ambiguous_directory_is_refused_with_its_files(self, tmp_path: Path) -> None:
        for name in ("a.gguf", "b.gguf"):
            self.gguf(tmp_path / "two" / name)

        with pytest.raises(DeploymentError, match=r"a\.gguf, b\.gguf"):
            self.locate(EngineName.LLAMACPP, "two", tmp_path)

    def test_other_engines_take_directories_and_hub_ids(self, tmp_path: Path) -> None:
        (tmp_path / "local").mkdir()

        assert self.locate(EngineName.VLLM, "local", tmp_path) == str(tmp_path / "local")
        assert self.locate(EngineName.VLLM, "org/some-model", tmp_path) == "org/some-model"
        for nonsense in ("/nowhere/at/all", "a/b/c", "what is this?"):
            with pytest.raises(DeploymentError, match="not a hub id"):
                self.locate(EngineName.SGLANG, nonsense, tmp_path)
