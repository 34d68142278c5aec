"""Import lines as people write them, with our name in place of the reference's: each of them works by itself.

Collected from public code that uses RoBERTa and XLM-RoBERTa: scripts, custom heads, configurations of services.
"""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parent.parent / "src"
#: Lines that need no framework: the bare install has them.
BARE = """
import robertakit
import robertakit as hf
from robertakit import *
from robertakit import logging
from robertakit import set_seed
from robertakit import set_seed as set_seed_func
from robertakit import pipeline
from robertakit import pipeline, AutoTokenizer
from robertakit import AutoConfig, AutoTokenizer
from robertakit import RobertaConfig, RobertaTokenizer, RobertaTokenizerFast
from robertakit import XLMRobertaTokenizer, XLMRobertaTokenizerFast, XLMRobertaConfig
from robertakit import PretrainedConfig, PreTrainedTokenizer, PreTrainedTokenizerFast
from robertakit import PreTrainedTokenizerBase, BatchEncoding, AddedToken
from robertakit import RobertaTokenizerFast, BatchEncoding
from robertakit import AutoModelForMaskedLM, AutoTokenizer, FillMaskPipeline
from robertakit import AutoModelForSequenceClassification, AutoTokenizer, AutoConfig
from robertakit import AutoModelForTokenClassification, AutoModelForQuestionAnswering, AutoModelForMultipleChoice
from robertakit import AutoModelWithLMHead, AutoTokenizer
from robertakit import AutoModelForCausalLM, AutoTokenizer, GenerationConfig
from robertakit import TFAutoModel, AutoTokenizer
from robertakit import TFAutoModelForSequenceClassification, TFAutoModelForMaskedLM
from robertakit import TFAutoModelForTokenClassification, TFAutoModelForQuestionAnswering
from robertakit import FlaxAutoModel, FlaxAutoModelForSequenceClassification
from robertakit import FlaxAutoModelForMaskedLM, FlaxAutoModelForTokenClassification
from robertakit.modeling_tf_outputs import TFBaseModelOutputWithPooling, TFSequenceClassifierOutput
from robertakit.modeling_flax_outputs import FlaxBaseModelOutputWithPooling, FlaxMaskedLMOutput
from robertakit.modeling_outputs import SequenceClassifierOutput
from robertakit.modeling_outputs import ModelOutput, BaseModelOutputWithPoolingAndCrossAttentions, MaskedLMOutput
from robertakit.modeling_outputs import MultipleChoiceModelOutput, TokenClassifierOutput
from robertakit.utils import logging
from robertakit.utils import logging as transformers_logging
from robertakit.utils import ModelOutput, logging
from robertakit.file_utils import ModelOutput
from robertakit.configuration_utils import PretrainedConfig
from robertakit.models.roberta.configuration_roberta import RobertaConfig
from robertakit.models.roberta.tokenization_roberta import RobertaTokenizer
from robertakit.models.xlm_roberta.tokenization_xlm_roberta_fast import XLMRobertaTokenizerFast
from robertakit.tokenization_utils_base import BatchEncoding, PaddingStrategy, PreTrainedTokenizerBase
from robertakit.tokenization_utils_base import TruncationStrategy
from robertakit.tokenization_utils import PreTrainedTokenizer, AddedToken
from robertakit.trainer_utils import set_seed
""".strip().splitlines()
TORCH = """
from robertakit import RobertaModel
from robertakit import RobertaModel, PreTrainedModel
from robertakit import RobertaModel, RobertaPreTrainedModel
from robertakit import RobertaModel, RobertaTokenizer, RobertaConfig
from robertakit import RobertaForSequenceClassification, RobertaTokenizerFast
from robertakit import RobertaForMaskedLM, RobertaForCausalLM, RobertaForMultipleChoice
from robertakit import RobertaForTokenClassification, RobertaForQuestionAnswering
from robertakit import XLMRobertaModel, XLMRobertaTokenizer, XLMRobertaConfig
from robertakit import XLMRobertaForSequenceClassification, XLMRobertaForTokenClassification
from robertakit import XLMRobertaForMaskedLM, XLMRobertaForCausalLM
from robertakit import XLMRobertaForMultipleChoice, XLMRobertaForQuestionAnswering
from robertakit import PretrainedConfig, PreTrainedModel, PreTrainedTokenizer
from robertakit.modeling_utils import PreTrainedModel
from robertakit.activations import ACT2FN
from robertakit.activations import get_activation
from robertakit.models.roberta.modeling_roberta import *
from robertakit.models.roberta.modeling_roberta import RobertaModel
from robertakit.models.roberta.modeling_roberta import RobertaPreTrainedModel, RobertaClassificationHead
from robertakit.models.roberta.modeling_roberta import RobertaPreTrainedModel, RobertaModel, RobertaLMHead
from robertakit.models.roberta.modeling_roberta import RobertaClassificationHead, SequenceClassifierOutput
from robertakit.models.roberta.modeling_roberta import RobertaEmbeddings, RobertaLayer, RobertaEncoder, RobertaPooler
from robertakit.models.roberta import RobertaModel
from robertakit.models.xlm_roberta import modeling_xlm_roberta
from robertakit.models.xlm_roberta.modeling_xlm_roberta import XLMRobertaModel
from robertakit.models.xlm_roberta.modeling_xlm_roberta import XLMRobertaLMHead, XLMRobertaPreTrainedModel
from robertakit.models.xlm_roberta.modeling_xlm_roberta import create_position_ids_from_input_ids
from robertakit.modeling_roberta import RobertaModel, RobertaLMHead, RobertaClassificationHead
""".strip().splitlines()
TENSORFLOW = """
from robertakit import TFRobertaModel
from robertakit import RobertaTokenizer, TFRobertaModel
from robertakit import TFRobertaForSequenceClassification, RobertaTokenizerFast, RobertaConfig
from robertakit import TFRobertaForMaskedLM, TFRobertaForCausalLM, TFRobertaForMultipleChoice
from robertakit import TFRobertaForTokenClassification, TFRobertaForQuestionAnswering
from robertakit import TFXLMRobertaModel, XLMRobertaTokenizer
from robertakit import TFXLMRobertaForSequenceClassification, TFXLMRobertaForTokenClassification
from robertakit import TFXLMRobertaForMaskedLM, TFXLMRobertaForCausalLM
from robertakit import TFXLMRobertaForMultipleChoice, TFXLMRobertaForQuestionAnswering
from robertakit import TFPreTrainedModel, TFRobertaPreTrainedModel, TFXLMRobertaPreTrainedModel
from robertakit import TFRobertaMainLayer
from robertakit.modeling_tf_utils import TFPreTrainedModel
from robertakit.activations_tf import get_tf_activation
from robertakit.models.roberta import TFRobertaModel
from robertakit.models.roberta.modeling_tf_roberta import *
from robertakit.models.roberta.modeling_tf_roberta import TFRobertaModel, TFRobertaMainLayer
from robertakit.models.roberta.modeling_tf_roberta import TFRobertaPreTrainedModel, TFRobertaClassificationHead
from robertakit.models.roberta.modeling_tf_roberta import TFRobertaEmbeddings, TFRobertaEncoder, TFRobertaLMHead
from robertakit.models.xlm_roberta.modeling_tf_xlm_roberta import TFXLMRobertaModel, TFXLMRobertaForMaskedLM
from robertakit.modeling_tf_roberta import TFRobertaModel, TFRobertaLMHead
""".strip().splitlines()
JAX = """
from robertakit import FlaxRobertaModel
from robertakit import AutoTokenizer, FlaxRobertaModel
from robertakit import FlaxRobertaForSequenceClassification, RobertaTokenizerFast, RobertaConfig
from robertakit import FlaxRobertaForMaskedLM, FlaxRobertaForCausalLM, FlaxRobertaForMultipleChoice
from robertakit import FlaxRobertaForTokenClassification, FlaxRobertaForQuestionAnswering
from robertakit import FlaxXLMRobertaModel, XLMRobertaTokenizerFast
from robertakit import FlaxXLMRobertaForSequenceClassification, FlaxXLMRobertaForTokenClassification
from robertakit import FlaxXLMRobertaForMaskedLM, FlaxXLMRobertaForCausalLM
from robertakit import FlaxXLMRobertaForMultipleChoice, FlaxXLMRobertaForQuestionAnswering
from robertakit import FlaxPreTrainedModel, FlaxRobertaPreTrainedModel, FlaxXLMRobertaPreTrainedModel
from robertakit.modeling_flax_utils import FlaxPreTrainedModel
from robertakit.models.roberta import FlaxRobertaModel
from robertakit.models.roberta.modeling_flax_roberta import *
from robertakit.models.roberta.modeling_flax_roberta import FlaxRobertaModule, FlaxRobertaModel
from robertakit.models.roberta.modeling_flax_roberta import FlaxRobertaPreTrainedModel, FlaxRobertaEmbeddings
from robertakit.models.roberta.modeling_flax_roberta import FlaxRobertaForMaskedLMModule, FlaxRobertaLMHead
from robertakit.models.xlm_roberta.modeling_flax_xlm_roberta import FlaxXLMRobertaModel, FlaxXLMRobertaForMaskedLM
from robertakit.modeling_flax_roberta import FlaxRobertaModel
""".strip().splitlines()
OF_FRAMEWORKS = {"torch": TORCH, "tensorflow": TENSORFLOW, "jax": JAX}


@pytest.mark.parametrize("line", BARE)
def test_the_line_works_in_the_bare_install(line: str) -> None:
    exec(line, {})


@pytest.mark.parametrize(
    ("framework", "line"), [(name, line) for name, lines in OF_FRAMEWORKS.items() for line in lines]
)
def test_the_line_works_with_its_framework(framework: str, line: str) -> None:
    pytest.importorskip(framework)
    exec(line, {})


def test_the_bare_lines_import_no_framework() -> None:
    """Nor do they need that anything was imported before: all of them in one fresh interpreter, in reverse."""
    code = "\n".join(
        [*reversed(BARE), "import sys; print(*{'torch', 'tensorflow', 'jax'} & set(sys.modules))"]
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
    )
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


@pytest.mark.parametrize("framework", OF_FRAMEWORKS)
def test_the_names_are_one_object_wherever_they_are_imported_from(framework: str) -> None:
    pytest.importorskip(framework)
    root = importlib.import_module("robertakit")
    for line in [*BARE, *OF_FRAMEWORKS[framework]]:
        names: dict[str, object] = {}
        exec(line, {}, names)
        for name, value in names.items():
            if isinstance(value, type) and name in dir(root):
                assert value is getattr(root, name), line
