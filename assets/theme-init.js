// Runs before the first paint, so that a dark page never flashes white.
(function () {
  let theme = null;
  try {
    theme = window.localStorage.getItem("sm-theme");
  } catch (e) {
    // storage can be forbidden; the system's preference serves
  }
  if (theme !== "light" && theme !== "dark") {
    theme = window.matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  }
  document.documentElement.setAttribute("data-bs-theme", theme);
})();
