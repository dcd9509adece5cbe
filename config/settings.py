"""Django's settings, all of them from `config.env`: wiring, no logic."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

import structlog
from django.templatetags.static import static
from kombu import Queue

from common.pools import COMES_BACK
from config import celery as celery_application  # noqa: F401  the tasks bind to this application
from config.env import load

BASE_DIR = Path(__file__).resolve().parent.parent
ENV = load(os.environ)

SECRET_KEY = ENV.secret_key
DEBUG = ENV.debug
ALLOWED_HOSTS = list(ENV.allowed_hosts)
PUBLIC_URL = ENV.public_url
GATEWAY_URL = ENV.gateway_url
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL]
VAR_DIR = Path(ENV.var_dir)

INSTALLED_APPS = [
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.postgres",
    "django.contrib.humanize",
    "django.contrib.staticfiles",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_celery_beat",
    "django_htmx",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "common",
    "cluster",
    "accounts",
    "artifacts",
    "tracking",
    "registry",
    "approvals",
    "scheduling",
    "deployments",
    "lineage",
]
MIDDLEWARE = [
    "common.middleware.request_id",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "common.middleware.content_policy",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "allauth.account.middleware.AccountMiddleware",
]
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
APPEND_SLASH = True
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "accounts.context_processors.frame",
            ],
        },
    }
]

# One pooled connection per request: sockets to PostgreSQL stay few while threads are many.
_database = urlsplit(ENV.database_url)
DATABASES = {
    "default": {
        "ENGINE": "config.postgresql",
        "NAME": unquote(_database.path.lstrip("/")),
        "USER": unquote(_database.username or ""),
        "PASSWORD": unquote(_database.password or ""),
        "HOST": unquote(_database.hostname or ""),
        "PORT": str(_database.port or ""),
        "OPTIONS": {
            # What common.sql prepares is planned once, not anew for each value: planning costs more than most answers.
            "options": "-c plan_cache_mode=force_generic_plan -c random_page_cost=1.1",
            **dict(parse_qsl(_database.query)),  # sslmode, host=/a/socket/folder, target_session_attrs, …
            "pool": {"min_size": 1, "max_size": 16, "timeout": 20, **COMES_BACK},
            "prepare_threshold": 1_000_000_000,  # only what common.sql asks for is prepared
        },
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "common_cache"},
    "throttle": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
}

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["accounts.sessions.SignIn"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
ACCOUNT_ADAPTER = "accounts.adapter.ClosedSignUp"
ACCOUNT_LOGIN_METHODS = {"username", "email"}
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_LOGOUT_ON_GET = False
ACCOUNT_PREVENT_ENUMERATION = True
SOCIALACCOUNT_ADAPTER = "accounts.adapter.SingleSignOn"
# The provider is the operator's own: what it says of an address is believed, and finds the account of that address.
SOCIALACCOUNT_EMAIL_AUTHENTICATION = True
SOCIALACCOUNT_EMAIL_AUTHENTICATION_AUTO_CONNECT = True
SOCIALACCOUNT_EMAIL_VERIFICATION = "none"
SOCIALACCOUNT_PROVIDERS = {
    "openid_connect": {
        "OAUTH_PKCE_ENABLED": True,
        "APPS": [
            {
                "provider_id": "sso",
                "name": ENV.oidc_name,
                "client_id": ENV.oidc_client_id,
                "secret": ENV.oidc_client_secret,
                "settings": {"server_url": ENV.oidc_issuer},
            }
        ]
        if ENV.oidc_issuer
        else [],
    }
}
OIDC_NAME = ENV.oidc_name if ENV.oidc_issuer else ""
_issuer = urlsplit(ENV.oidc_issuer)
SIGN_IN_ORIGIN = f"{_issuer.scheme}://{_issuer.netloc}" if ENV.oidc_issuer else ""
OIDC_SIGN_UP = ENV.oidc_sign_up
MFA_SUPPORTED_TYPES = ["totp", "recovery_codes", "webauthn"]
MFA_TOTP_ISSUER = "Model Registry"
MFA_ADAPTER = "accounts.adapter.SecondFactor"
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "home"
ACCOUNT_LOGOUT_REDIRECT_URL = "account_login"
_email = urlsplit(ENV.email_url)
EMAIL_BACKENDS = {"": "filebased", "console": "console"}
EMAIL_BACKEND = f"django.core.mail.backends.{EMAIL_BACKENDS.get(_email.scheme, 'smtp')}.EmailBackend"
EMAIL_FILE_PATH = ENV.var_dir / "mail"
EMAIL_HOST, EMAIL_PORT = (
    _email.hostname or "localhost",
    _email.port or (465 if _email.scheme == "smtps" else 587),
)
EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = unquote(_email.username or ""), unquote(_email.password or "")
EMAIL_USE_TLS, EMAIL_USE_SSL = _email.scheme == "smtp" and bool(_email.username), _email.scheme == "smtps"
EMAIL_TIMEOUT = 20
LONG_JOBS = ENV.long_jobs
REQUESTS_PER_SECOND = ENV.requests_per_second
REQUESTS_AT_ONCE = max(1, ENV.web_threads * 3 // 4)  # of one person in each web process
WEBHOOKS_TO_PRIVATE = ENV.webhooks_to_private
DEFAULT_FROM_EMAIL = SERVER_EMAIL = ENV.email_from

SESSION_ENGINE = "accounts.sessions"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_SAMESITE = "Lax"
CSRF_FAILURE_VIEW = "common.pages.forged"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = PUBLIC_URL.startswith("https://")
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
DATA_UPLOAD_MAX_MEMORY_SIZE = 5 * 1024 * 1024
MAX_JSON_BYTES = 16 * 1024 * 1024
MAX_UPLOAD_BYTES = ENV.max_upload_bytes
BLOB_GRACE_HOURS = ENV.blob_grace_hours
UPLOAD_HOURS = ENV.upload_hours
TRASH_DAYS = ENV.trash_days
BUNDLE_SIGNING_KEY = ENV.bundle_signing_key
BUNDLE_TRUSTED_KEYS = ENV.bundle_trusted_keys

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_I18N = False
FORMAT_MODULE_PATH = "config.formats"
USE_TZ = True

STATIC_URL = "/static/"
STATICFILES_DIRS = [path for path in [BASE_DIR / "static"] if path.is_dir()]
WHITENOISE_USE_FINDERS = True
STORAGES = {
    "default": {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": VAR_DIR / "media"},
    },
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
STORAGE_URL = ENV.storage_url
AZURE_STORAGE_CONNECTION_STRING = ENV.azure_storage_connection_string

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "accounts.api.authentication.TokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["accounts.api.permissions.SignedIn"],
    "DEFAULT_PARSER_CLASSES": ["common.api.parsers.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "common.api.problems.handle_exception",
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
    "URL_FORMAT_OVERRIDE": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Model Registry",
    "DESCRIPTION": "Runs, models, versions, stages, aliases and endpoints of one project, as JSON.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "common.api.description.close_requests",
    ],
    "SCHEMA_PATH_PREFIX": r"/api/v1/projects/{project}",
    "ENUM_NAME_OVERRIDES": {
        "StageEnum": "registry.choices.Stage",
        "VersionStatusEnum": "registry.choices.VersionStatus",
        "EndpointStateEnum": "deployments.choices.EndpointState",
        "RevisionStateEnum": "deployments.choices.RevisionState",
        "ExecutionStateEnum": "scheduling.choices.ExecutionState",
        "RequestStateEnum": "approvals.choices.RequestState",
        "NoticeEnum": "accounts.choices.Notice",
        "VoteEnum": "approvals.choices.Vote",
        "MoveStatusEnum": ["applied", "pending_approval"],
    },
}

CELERY_BROKER_URL = ENV.redis_url
CELERY_BROKER_TRANSPORT = "common.broker:Transport"
if ENV.redis_url.startswith("rediss:"):
    CELERY_BROKER_USE_SSL = {"ssl_cert_reqs": "required"}  # against what SSL_CERT_FILE or the system trusts
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "socket_timeout": 5,
    "socket_connect_timeout": 2,
    "socket_keepalive": True,
    "visibility_timeout": 600,
    "max_retries": 1,
}
# Two, so that no clock and no Stop waits behind a copy or a foreign host (see common/jobs.py). A worker takes both
# unless it is told --queues.
CELERY_TASK_QUEUES = [Queue("celery"), Queue("long")]
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_STORE_EAGER_RESULT = False
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"
_clock = {  # task and seconds between two
    "Hand on what a dead worker held": ("common.reap_jobs", 2.0),
    "Start what schedules have due": ("scheduling.tick", 1.0),
    "Look after every approval request": ("approvals.look_after_requests", 10.0),
    "Look after every execution": ("scheduling.look_after_executions", 5.0),
    "Look after every endpoint": ("deployments.look_after_endpoints", 5.0),
    "Follow aliases": ("deployments.follow_aliases", 2.0),
    "Scale endpoints": ("deployments.scale_endpoints", 5.0),
    "Watch what endpoints fail": ("deployments.watch_errors", 10.0),
    "Remove old counts of traffic": ("deployments.prune_traffic", 3600.0),
    "Remove models that no endpoint needs": ("deployments.clean_model_files", 3600.0),
    "Remove finished jobs": ("common.prune", 3600.0),
    "Empty the trash": ("registry.empty_trash", 600.0),
    "Free what nobody refers to": ("artifacts.collect_daily", 86400.0),
}
# What nobody took before the next one came is dropped: workers that were away begin with what is due now.
CELERY_BEAT_SCHEDULE = {
    name: {"task": task, "schedule": seconds, "options": {"expire_seconds": max(10, int(seconds))}}
    for name, (task, seconds) in _clock.items()
}
DJANGO_CELERY_BEAT_TZ_AWARE = True

SERVING_ENGINE_URL = ENV.serving_engine_url
SERVING_ENGINE_TOKEN = ENV.serving_engine_token
SERVING_ENGINE, TRAINING_ENGINE = ENV.serving_engine, ENV.training_engine
RAY_ADDRESS, RAY_TOKEN, RAY_SERVE_URL = ENV.ray_address, ENV.ray_token, ENV.ray_serve_url
RAY_MODEL_FILES, RAY_PREPARE_MINUTES = ENV.ray_model_files, ENV.ray_prepare_minutes
TRAINING_DIR = VAR_DIR / "training"
TRAINING_GIT_URLS, TRAINING_GIT_CONFIG = ENV.training_git_urls, ENV.training_git_config
SERVING_MODELS_DIR = VAR_DIR / "serving" / "models"
NO_GPU = ENV.no_gpu
SERVING_TARGET_IN_FLIGHT = ENV.serving_target_in_flight
SERVING_ERROR_PERCENT = ENV.serving_error_percent
SERVING_MODELS_KEEP_HOURS = ENV.serving_models_keep_hours
DOWNLOADS = ENV.downloads
UPLOADS = ENV.uploads
GPU_TYPES = ENV.gpu_types

UNFOLD = {
    "SITE_TITLE": "Model Registry",
    "SITE_HEADER": "Model Registry",
    "SITE_SUBHEADER": "Operators",
    "SHOW_HISTORY": False,
    "SITE_URL": "/",
    "BORDER_RADIUS": "6px",
    # The portal's accent in its lighter and darker tones.
    "COLORS": {
        "primary": {
            "50": "#eef0fd",
            "100": "#dfe3fb",
            "200": "#c3caf7",
            "300": "#9fabff",
            "400": "#7b8cff",
            "500": "#5567e8",
            "600": "#3b4fd8",
            "700": "#3444c4",
            "800": "#2a379c",
            "900": "#232d7a",
            "950": "#161c4d",
        }
    },
    "STYLES": [lambda request: static("admin.css")],
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": lambda request: static("favicon.svg")}
    ],
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "plain": {
            "()": structlog.stdlib.ProcessorFormatter,
            "processor": structlog.dev.ConsoleRenderer(
                colors=False,
                # Tracebacks without local variables: those may hold secrets.
                exception_formatter=structlog.dev.plain_traceback,
            ),
            "foreign_pre_chain": [
                structlog.contextvars.merge_contextvars,
                structlog.stdlib.add_log_level,
                structlog.stdlib.add_logger_name,
                structlog.processors.TimeStamper(fmt="iso"),
            ],
        }
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"handlers": ["console"], "level": ENV.log_level},
    "loggers": {"django.request": {"level": "ERROR"}, "django.server": {"level": "ERROR"}},
}
