"""A page with a session and a form, by Django in its defaults: the form is refused without the CSRF cookie.

    python django_app.py PORT
"""

import socketserver
import sys
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse, HttpResponseRedirect
from django.middleware.csrf import get_token
from django.urls import path

settings.configure(
    ALLOWED_HOSTS=["localhost", "127.0.0.1"],
    CSRF_COOKIE_SECURE=True,
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
    ],
    ROOT_URLCONF=__name__,
    SECRET_KEY="for this test alone",
    SECURE_PROXY_SSL_HEADER=("HTTP_X_FORWARDED_PROTO", "https"),
    SESSION_COOKIE_SECURE=True,
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
)


def page(request):
    if request.method == "POST":
        request.session["name"] = request.POST["name"]
        return HttpResponseRedirect("/")
    name = request.session.get("name", "stranger")
    response = HttpResponse(
        f"<!doctype html><title>Django</title><p id=greeting>hello {name}</p>"
        "<form method=post><input name=name>"
        f'<input type=hidden name=csrfmiddlewaretoken value="{get_token(request)}">'
        "<button>say</button></form>"
    )
    response.set_cookie("theme", "dark", secure=True)
    return response


urlpatterns = [path("", page)]


class Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True


class Handler(WSGIRequestHandler):
    def log_message(self, *_):
        pass


make_server(
    "127.0.0.1",
    int(sys.argv[1]),
    get_wsgi_application(),
    server_class=Server,
    handler_class=Handler,
).serve_forever()
