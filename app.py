"""``gunicorn app:server`` for many people, ``python app.py`` for one."""

from spatialmeta_app import create_app
from spatialmeta_app.config import Settings

settings = Settings.from_env()
app = create_app(settings)
server = app.server

if __name__ == "__main__":
    from spatialmeta_app.serve import serve

    serve(app, settings)
