// Copies what an element shows: <button data-copy="id of the element">.
document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) {
        return;
    }
    const shown = document.getElementById(button.dataset.copy);
    const status = document.getElementById("copied");
    try {
        await navigator.clipboard.writeText(shown.textContent.trim());
        status.textContent = "Copied.";
    } catch {
        // Without HTTPS a browser offers no clipboard: select it, so that Ctrl+C works.
        window.getSelection().selectAllChildren(shown);
        status.textContent = "Press Ctrl+C to copy.";
    }
});
