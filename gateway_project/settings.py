"""Django's settings, derived from the environment alone."""

import os
import secrets
import sys

from cryptography.fernet import Fernet

from gateway_project.console_look import UNFOLD as UNFOLD
from gateway_project.databases import cache_settings, database_settings
from gateway_project.environment import PROJECT_DIR, BadVariableError, read_environment
from gateway_project.stored_secrets import stored_secret

try:
    ENVIRONMENT = read_environment(os.environ)
    DATABASES = {"default": database_settings(ENVIRONMENT.database)}
    SECRET_KEY = ENVIRONMENT.secret_key or stored_secret(
        ENVIRONMENT.data_dir / "secret_key", lambda: secrets.token_urlsafe(48)
    )
    # Newest first: the first one encrypts, each is tried to decrypt.
    CREDENTIAL_KEYS = list(ENVIRONMENT.credential_keys) or stored_secret(
        ENVIRONMENT.data_dir / "credential_keys", lambda: Fernet.generate_key().decode()
    ).split(",")
    ENVIRONMENT.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
except BadVariableError as error:
    sys.exit(str(error))
except OSError as error:
    sys.exit(f"DATA_DIR: {error.filename}: {error.strerror}")

DEBUG = ENVIRONMENT.debug
DATA_DIR = ENVIRONMENT.data_dir
JOURNAL_DIR = DATA_DIR / "journal"
REDIS_URL = ENVIRONMENT.redis_url
DEFAULT_PROVIDER = ENVIRONMENT.default_provider
PRIVATE_UPSTREAMS = list(ENVIRONMENT.private_upstreams)
TRUSTED_PROXIES = list(ENVIRONMENT.trusted_proxies)
CORS_ALLOWED_ORIGINS = list(ENVIRONMENT.cors_allowed_origins)
PUBLIC_URL = ENVIRONMENT.public_url
ALLOWED_HOSTS = list(ENVIRONMENT.allowed_hosts)

INSTALLED_APPS = [
    "unfold.apps.BasicAppConfig",
    "unfold.contrib.filters",
    "gateway_project.apps.ConsoleConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "keys",
    "billing",
    "routing",
    "gateway_project.apps.GatewayProjectConfig",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "gateway_project.static_files.StaticFilesMiddleware",
    "gateway_project.page_headers.PageHeadersMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "keys.sign_in.PasswordChangeFirst",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "gateway_project.urls"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [PROJECT_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "UTC"
FORMAT_MODULE_PATH = "gateway_project.formats"
CACHES = {"default": cache_settings(REDIS_URL)}
RATELIMIT_FAIL_OPEN = True

# --- alerts ---
MAIL = ENVIRONMENT.mail_server
if MAIL is not None:
    EMAIL_HOST, EMAIL_PORT = MAIL.host, MAIL.port
    EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = MAIL.user, MAIL.password
    EMAIL_USE_TLS, EMAIL_USE_SSL = MAIL.starttls, MAIL.ssl
    DEFAULT_FROM_EMAIL = MAIL.sender or (MAIL.user if "@" in MAIL.user else "gateway@localhost")
EMAIL_TIMEOUT = 5
EMAIL_SUBJECT_PREFIX = "[gateway] "
ALERT_EMAILS = list(ENVIRONMENT.alert_emails)
ALERT_WEBHOOK_URL = ENVIRONMENT.alert_webhook_url
# Django hides settings with SECRET in their name on its pages of errors.
ALERT_WEBHOOK_SECRET_KEY = ENVIRONMENT.alert_webhook_key

# --- who signs in ---
AUTH_USER_MODEL = "keys.User"
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "/"
_VALIDATION = "django.contrib.auth.password_validation"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"{_VALIDATION}.UserAttributeSimilarityValidator"},
    {"NAME": f"{_VALIDATION}.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": f"{_VALIDATION}.CommonPasswordValidator"},
    {"NAME": f"{_VALIDATION}.NumericPasswordValidator"},
    {"NAME": "keys.sign_in.NewPasswordValidator"},
]

# --- cookies, and what a browser is told ---
_HTTPS = PUBLIC_URL.startswith("https://")
SESSION_COOKIE_AGE = 12 * 60 * 60
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _HTTPS
# Browsers tie a __Host- cookie to this very host, and take it over HTTPS only.
SESSION_COOKIE_NAME = "__Host-session" if _HTTPS else "session"
CSRF_COOKIE_NAME = "__Host-csrf" if _HTTPS else "csrf"
CSRF_COOKIE_HTTPONLY = True
CSRF_COOKIE_SAMESITE = "Strict"
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL]
X_FRAME_OPTIONS = "DENY"
if _HTTPS:
    SECURE_HSTS_SECONDS = 365 * 24 * 60 * 60
    if TRUSTED_PROXIES:
        SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

# --- static files: served from the packages that bring them, nothing to collect ---
STATIC_URL = "/static/"
WHITENOISE_USE_FINDERS = True
WHITENOISE_ALLOW_ALL_ORIGINS = False
WHITENOISE_MAX_AGE = 60 * 60

# --- the management API ---
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "keys.api_access.StaffTokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["keys.api_access.IsAdministrator"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_PAGINATION_CLASS": "rest_framework.pagination.LimitOffsetPagination",
    "PAGE_SIZE": 100,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "AI gateway",
    "DESCRIPTION": "Management of teams, keys, limits, providers, models and prices.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
}

# --- logging ---
LOGGING_CONFIG = "gateway_project.logging_setup.configure"
LOGGING = {"format": ENVIRONMENT.log_format, "level": ENVIRONMENT.log_level}

SILENCED_SYSTEM_CHECKS = [
    # "Not officially supported": our database cache, whose increment is exact.
    "django_ratelimit.W001",
]
