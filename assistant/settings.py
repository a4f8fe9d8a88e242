"""The one frozen `Settings`: flags, then environment (`RUNGS_…`), then `rungs.toml`, then defaults.

Nothing else in Rungs reads the environment. All mistakes are reported together. Called by `ui/cli` and tests.
"""

from __future__ import annotations

import tomllib
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from assistant.errors import BadSettings

SETTINGS_FILE = Path("rungs.toml")
ANSWERED_IN = {"embedded": ("en",)}
"""By kind of model, where the owner names no languages."""


class Settings(BaseSettings):
    """Every dial of Rungs. Each can stand in `rungs.toml` (`model = "served"`) or the environment (`RUNGS_MODEL`)."""

    model_config = SettingsConfigDict(
        env_prefix="RUNGS_", frozen=True, extra="forbid", toml_file=SETTINGS_FILE, protected_namespaces=()
    )

    home: Annotated[Path, AfterValidator(Path.expanduser)] = Field(
        Path(".rungs"), description="the one folder that everything lives under"
    )
    host: str = Field("127.0.0.1", description="address to serve on; only loopback while there are no accounts")
    hosts: list[str] = Field(
        default_factory=list, description="names that the pages are reached under besides loopback, as in a browser"
    )
    proxies: list[str] = Field(
        default_factory=list,
        description="addresses or networks of proxies whose X-Forwarded-For and -Proto are believed",
    )
    oidc_issuer: str = Field("", description="OpenID Connect: the identity provider's issuer; empty is none")
    oidc_client: str = Field("", description="OpenID Connect: the client id that the provider gave")
    oidc_secret: str = Field("", description="OpenID Connect: the client's secret", repr=False)
    oidc_roles: dict[str, str] = Field(
        default_factory=dict,
        description="role (user, agent, owner) by group, role or verified e-mail; `default` is for everybody else",
    )
    oidc_name: str = Field("single sign-on", description="OpenID Connect: what the login page calls it")
    port: int = Field(7860, ge=0, le=65535, description="port to serve on; 0 takes a free one")
    database: str = Field(
        "", description="postgresql://user:password@host/name; empty is SQLite under home", repr=False
    )
    chroma: str = Field("", description="URL of a Chroma server that several processes share; empty: in home")
    chroma_key: str = Field("", description="token that the proxy before the Chroma server asks for", repr=False)
    demo: bool = Field(True, description="load the handbook as knowledge on the first start")

    model: Literal["embedded", "served", "local", "scripted"] = Field(
        "embedded", description="who runs the language model"
    )
    model_name: str = Field("", description="served: the model's name there; local: hub name or folder")
    model_url: str = Field("", description="served: base URL of an OpenAI-compatible server, ending in /v1")
    model_key: str = Field("", description="served: API key", repr=False)
    model_file: Path | None = Field(None, description="embedded: a GGUF file instead of the bundled weights")
    context_tokens: int = Field(4096, ge=512, description="context window per conversation, tokens")
    threads: int = Field(0, ge=0, description="embedded: CPU threads; 0 takes what the machine has")
    slots: int = Field(2, ge=1, le=64, description="embedded: conversations answered side by side")
    connect_seconds: float = Field(5.0, gt=0, description="served: deadline to connect")
    first_byte_seconds: float = Field(60.0, gt=0, description="served: deadline for the first token")
    total_seconds: float = Field(180.0, gt=0, description="served: deadline for the whole answer")
    adapter: Path | None = Field(
        None, description="folder of a PEFT adapter that level lora serves instead of the promoted ones"
    )
    adapters: dict[str, str] = Field(
        default_factory=dict,
        description="adapter by site or team; `default` is for everybody else. Empty: the adapter that is promoted",
    )
    gate_questions: int = Field(
        520, ge=5, le=10_000, description="questions that the gate asks each side at most; fewer than 300 prove little"
    )

    embedder: str = Field("minilm", description="minilm, a sentence-transformers folder, or hash (tests)")
    passages: int = Field(8, ge=1, le=50, description="passages found per question")
    evidence_tokens: int = Field(0, ge=0, description="token budget for sentences in a prompt; 0: by model")
    rag_answers_by: Literal["auto", "quoting", "generating"] = Field(
        "auto",
        description="level rag quotes the evidence or lets the model write; auto: as evaluated for the model",
    )
    answer_tokens: int = Field(256, ge=16, description="at most this many generated tokens per draft")
    person_topics: list[str] = Field(
        default_factory=list, description="words or phrases; a question that holds one goes to a person at once"
    )
    internal_sources: list[str] = Field(
        default_factory=list,
        description="sources that agents see and visitors never do, by name or by the last part of their path",
    )
    languages: list[str] = Field(
        default_factory=list,
        description="languages that the model answers in, as ISO 639-1 codes; empty: en for the embedded one, else any",
    )
    anonymous_chat: bool = Field(
        True, description="whether the chat page is open to everybody once there are accounts; false: only who logs in"
    )
    retention_days: int = Field(
        0, ge=0, description="conversations in which nothing was written for so many days are erased; 0 keeps all"
    )
    question_characters: int = Field(8000, ge=100, description="longer questions are refused")
    price_in: float = Field(0.0, ge=0, description="price of a million tokens read, for the console's overview")
    price_out: float = Field(0.0, ge=0, description="price of a million tokens written, in the same currency")

    visitor_questions_per_minute: int = Field(20, ge=0, description="a visitor, or an account; 0 is no limit")
    visitor_tokens_per_day: int = Field(200_000, ge=0, description="a visitor, or an account; 0 is no limit")
    site_questions_per_minute: int = Field(600, ge=0, description="all visitors of a site together; 0 is no limit")
    site_tokens_per_day: int = Field(0, ge=0, description="all visitors of a site together; 0 is no limit")
    address_questions_per_minute: int = Field(
        120, ge=0, description="everybody behind one address, other than this machine's; 0 is no limit"
    )
    address_tokens_per_day: int = Field(0, ge=0, description="everybody behind one address; 0 is no limit")
    key_questions_per_minute: int = Field(600, ge=0, description="a program's key; 0 is no limit")
    key_tokens_per_day: int = Field(0, ge=0, description="a program's key; 0 is no limit")
    log: Literal["text", "json"] = Field("text", description="how the log is written, to standard error")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="info: one line for every request and every answered question"
    )
    log_text: bool = Field(False, description="questions and answers stand in the log with what they say")
    otel: str = Field(
        "", description="URL of an OpenTelemetry collector (OTLP over HTTP) that gets spans; empty sends nothing"
    )
    webhook_private: bool = Field(
        False, description="webhooks may also go to this machine's loopback, by http, too; for tests and side-cars"
    )

    @field_validator("otel")
    @classmethod
    def _otel_is_url(cls, value: str) -> str:
        if value and not value.startswith(("http://", "https://")):
            raise ValueError("it must begin with http:// or https://, as http://collector:4318")
        return value

    @field_validator("model_file", "adapter", mode="before")
    @classmethod
    def _empty_is_none(cls, value: Any) -> Any:
        """As in rungs.example.toml: `adapter = ""` names no folder, not the present one."""
        return None if value == "" else value

    @field_validator("proxies")
    @classmethod
    def _are_addresses(cls, value: list[str]) -> list[str]:
        """A name would never be believed: what connects is an address."""
        for one in value:
            try:
                ip_network(one)
            except ValueError as error:
                raise ValueError(f"{one!r} is no address and no network. Write 10.0.0.7 or 10.0.0.0/24") from error
        return value

    @model_validator(mode="after")
    def _whole_provider(self) -> Settings:
        """OpenID Connect needs a client, roles that there are, and a provider that nobody can stand in for."""
        if not self.oidc_issuer:
            return self
        if not self.oidc_client:
            raise ValueError("oidc_issuer needs oidc_client, too")
        local = urlsplit(self.oidc_issuer).hostname in ("localhost", "127.0.0.1", "::1")
        if not self.oidc_issuer.startswith("https://") and not local:
            raise ValueError(f"oidc_issuer {self.oidc_issuer!r} must begin with https://")
        wrong = sorted(set(self.oidc_roles.values()) - {"", "user", "agent", "owner"})
        if wrong:
            raise ValueError(f"oidc_roles: there is no role {', '.join(wrong)}; there are user, agent, owner")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags first, then environment, then the file."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)

    @property
    def answered_in(self) -> tuple[str, ...]:
        """Languages that the model at hand answers in, as codes; empty where nobody said."""
        return tuple(self.languages) or ANSWERED_IN.get(self.model, ())

    @property
    def database_url(self) -> str:
        """The SQLAlchemy URL in force."""
        return self.database or f"sqlite:///{self.home.resolve() / 'rungs.db'}"


def read_settings(**flags: Any) -> Settings:
    """Read the settings once; flags that are None count as not given.

    Raises:
        BadSettings: with one line for every mistake.
    """
    try:
        return Settings(**{name: value for name, value in flags.items() if value is not None})
    except ValidationError as error:
        raise BadSettings("settings: " + "; ".join(_in_words(e) for e in error.errors())) from error
    except SettingsError as error:  # only mappings and lists are more than texts there
        raise BadSettings(
            "settings: a mapping or a list in the environment (RUNGS_ADAPTERS, RUNGS_HOSTS, ...) is no JSON. Write "
            'them like {"default": "house"} and ["name"].'
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise BadSettings(f"{SETTINGS_FILE} is not valid TOML: {error}. Mend that line.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise BadSettings(f"{SETTINGS_FILE} cannot be read: {error}. It must be a readable file in UTF-8.") from error


def origins_of(settings: Settings) -> dict[str, str]:
    """Where each setting comes from: `flag`, `environment`, the settings file's name, or `default`."""
    environment, file = EnvSettingsSource(Settings)(), TomlConfigSettingsSource(Settings)()
    origins = {}
    for name, field in Settings.model_fields.items():
        value = getattr(settings, name)
        origins[name] = "default" if value == field.get_default(call_default_factory=True) else "flag"
        for origin, given in (("environment", environment), (SETTINGS_FILE.name, file)):
            if name in given:
                same = getattr(Settings(**{name: given[name]}), name) == value
                origins[name] = origin if same else "flag"
                break
    return origins


def _in_words(error: Any) -> str:
    name = ".".join(map(str, error["loc"]))
    if error["type"] == "extra_forbidden":
        return f"{name}: there is no such setting. rungs.example.toml lists them all"
    return f"{name}: {error['msg']}"
