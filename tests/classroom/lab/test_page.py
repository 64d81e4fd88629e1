"""The lab as a student meets it: one file, opened from disk in a real browser."""

import pytest
from gates import gate

from classroom.lab import expect
from classroom.lab import page as lab_page
from mnist_utils import models, results
from mnist_utils.files import ROOT
from receptive import describe


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    file = tmp_path_factory.mktemp("lab") / "lab.html"
    file.write_text(lab_page.page())
    return file.as_uri()


@pytest.fixture
def page(visit, address):
    with visit(address) as page:
        yield page


def test_the_file_in_the_repository_is_the_one_that_the_package_writes():
    stale = (ROOT / "notebooks" / "lab.html").read_text() != lab_page.page()
    gate(["notebooks/lab.html"] * stale, "run `make report`")


def table(page) -> list[list[str]]:
    """Map, field, jump, start, parameters and multiply-adds of each row, as they are shown."""
    cells = "rows => rows.map(row => [...row.querySelectorAll('.number')].map(c => c.innerText))"
    return page.locator(".bench tbody tr").evaluate_all(cells)


def described(network) -> list[list[str]]:
    """The same of `describe`."""
    unseen = {"identity", "flatten", "logsoftmax", "log_softmax"}
    rows = [line for line in describe(network).rows if not line.container]
    lines = [line for line in rows if line.kind.lower() not in unseen]
    return [
        ["×".join(map(str, line.output_shape))]
        + [f"{value:,}" for value in (line.receptive_field, line.jump, line.start)]
        + [f"{value:,}" if value else "" for value in (line.parameters, line.macs)]
        for line in lines
    ]


MODEL3 = "Model 3, the source's"


def begin_with(page, preset):
    page.get_by_label("Begin with").select_option(preset)


def test_every_preset_has_describe_s_numbers_and_a_kernel_size_is_changed_by_keyboard(page):
    assert table(page) == described(models.build(lab_page.START))
    assert "Expected accuracy: 9" in page.inner_text(".totals")
    for preset, build in lab_page.PRESETS.items():
        begin_with(page, preset)
        assert table(page) == described(build()), preset
    begin_with(page, MODEL3)
    assert "6,016 parameters, 1,164,180 multiply-adds" in page.inner_text(".totals")
    kernel = page.get_by_label("kernel size of row 1", exact=True)
    kernel.focus()
    page.keyboard.press("ArrowUp")
    kernel_4 = models.build("Model3")
    kernel_4.block1[0][0] = type(kernel_4.block1[0][0])(1, 10, 4)
    assert table(page) == described(kernel_4)
    page.keyboard.press("ControlOrMeta+A")
    page.keyboard.type("3")
    assert table(page) == described(models.build("Model3"))


def test_rows_are_added_moved_and_removed_to_the_last_by_mouse_and_by_keyboard(page):
    kinds = page.locator(".bench tbody td.kind")
    first = kinds.all_inner_texts()
    page.get_by_role("button", name="look at row 1", exact=True).click()
    page.get_by_label("New row").select_option("maxpool")
    page.get_by_role("button", name="Add below").click()
    assert kinds.all_inner_texts() == [first[0], "max pool", *first[1:]]
    page.keyboard.press("Alt+ArrowUp")
    assert kinds.all_inner_texts()[:2] == ["max pool", first[0]]
    page.get_by_role("button", name="move down row 1", exact=True).click()
    assert kinds.all_inner_texts()[:2] == [first[0], "max pool"]
    page.get_by_role("button", name="remove row 2", exact=True).focus()
    page.keyboard.press("Enter")
    assert kinds.all_inner_texts() == first
    for left in range(page.locator(".bench tbody tr").count(), 0, -1):
        page.get_by_role("button", name=f"remove row {left}", exact=True).click()
    assert table(page) == []
    page.get_by_label("New row").select_option("conv")
    page.get_by_role("button", name="Add below").click()
    assert table(page) == [["16×26×26", "3", "1", "1", "160", "97,344"]]


def test_a_field_of_22_pixels_with_6000_parameters_takes_four_actions(page):
    page.get_by_label("channels out of row 5").fill("10")
    for row in (5, 8, 11):
        page.get_by_role("button", name=f"repeat row {row}", exact=True).click()
    assert "4,762 parameters" in page.inner_text(".totals")
    assert "sees 22 of 28 pixels" in page.inner_text(".totals")
    assert page.url.endswith("#16C5-MP2-10C3-10C3-10C3-10C3")


def test_a_design_is_remembered_undone_and_sent_as_a_link(page):
    kinds = page.locator(".bench tbody td.kind")
    first = kinds.all_inner_texts()
    out = page.get_by_label("channels out of row 1", exact=True)
    page.get_by_role("button", name="look at row 5", exact=True).click()
    page.get_by_role("button", name="Add below").click()  # a block, of as many channels
    assert page.url.endswith("#16C5-MP2-16C3-16C3")
    out.fill("1")
    out.fill("12")  # typed: one change
    page.reload()
    assert kinds.count() == len(first) + 3
    assert out.input_value() == "12"
    page.go_back()
    assert out.input_value() == "16"
    page.get_by_role("button", name="look at row 1", exact=True).click()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Alt+ArrowDown")
    assert "=16c5u-R-BN" in page.url
    page.keyboard.press("Control+z")
    assert page.url.endswith("#16C5-MP2-16C3-16C3")
    page.get_by_role("button", name="Redo").click()
    assert "=16c5u-R-BN" in page.url
    page.get_by_role("button", name="Undo").click()
    page.locator(".bench tbody th").nth(3).drag_to(page.locator(".bench tbody td.kind").first)
    assert kinds.all_inner_texts()[0] == "max pool"
    page.get_by_label("bias of row 2", exact=True).evaluate("e => e.click()")
    assert kinds.all_inner_texts()[1] == "convolution"  # it said "no bias"


def test_a_design_that_does_not_fit_is_explained(page):
    begin_with(page, MODEL3)
    page.get_by_label("kernel size of row 26").fill("9")
    said = "a window of 9 does not fit a map of 5"
    assert page.locator(".bench tbody tr").nth(25).inner_text().count(said) == 1
    assert said in page.inner_text(".totals")
    assert page.locator("pre").text_content() == f"# Row 26 does not fit: {said}."


def test_a_clicked_unit_tells_its_window_its_holes_and_what_counts(page):
    begin_with(page, "dilated by 2")
    page.get_by_role("button", name="look at row 7", exact=True).click()
    canvas = page.locator(".view canvas")
    canvas.click(position={"x": 6 * 8 + 4, "y": 6 * 8 + 4})  # the image's first pixel
    said = page.locator(".told")
    assert "unit (0, 0)" in said.inner_text()
    assert "18 × 18 pixels, rows 0 to 17, columns 0 to 17" in said.inner_text()
    assert "reads 100 of the 324 pixels" in said.inner_text()
    said.get_by_text("random weights").wait_for()
    begin_with(page, MODEL3)  # trained, until a layer changes
    page.locator(".told").get_by_text("weights of the trained Model3").wait_for()
    page.get_by_label("kernel size of row 1", exact=True).fill("4")
    page.locator(".told").get_by_text("random weights").wait_for()


def draw_seven(page):
    page.locator(".reader").scroll_into_view_if_needed()
    sheet = page.locator(".reader canvas").first.bounding_box()
    for x, y in ((0.2, 0.2), (0.75, 0.2), (0.45, 0.85)):
        page.mouse.move(sheet["x"] + x * sheet["width"], sheet["y"] + y * sheet["height"], steps=15)
        page.mouse.down()
    page.mouse.up()


def test_a_seven_drawn_with_the_mouse_is_read_and_preparation_can_be_switched_off(page):
    share = page.locator(".bars li").nth(2)
    assert share.inner_text() == "100.0%"
    page.get_by_label("prepared as MNIST's were").uncheck()
    assert share.inner_text() != "100.0%"
    page.get_by_label("prepared as MNIST's were").check()
    draw_seven(page)
    answer = page.locator(".answer")
    assert answer.inner_text().startswith("7 (")
    page.get_by_label("show").select_option("cells")
    assert page.locator(".cells td").count() == 9
    page.get_by_label("show").select_option("occlusion")
    page.get_by_text("7 becomes less sure").wait_for()
    page.get_by_role("button", name="Clear").click()
    assert answer.inner_text().startswith("Draw a digit")


def test_nobody_is_shut_out_and_where_the_keyboard_is_can_be_seen(visit, address, barriers):
    outline = "getComputedStyle(document.activeElement).outline"
    for width, scheme in ((1280, "light"), (640, "dark")):  # 640: 1,280 pixels at 200% zoom
        with visit(address, width, scheme) as page:
            assert barriers(page) == []
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            for _ in range(8):
                page.keyboard.press("Tab")
                assert page.evaluate(outline).endswith("solid 3px")


def test_without_a_script_the_table_is_there(chromium, address):
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address)
    assert "2,938 parameters" in page.inner_text("main")
    context.close()


def test_a_measured_network_shows_its_measurement_and_a_dot_is_taken_by_a_click(page):
    dots = page.locator(".chart circle:not(.own)")
    assert dots.count() == len(expect.alike())
    begin_with(page, "CourseNet")
    row = results.summary("course")
    said = f"Measured: {100 * row['mean']:.2f} ± 0.11% on the test digits, n = {row['n']}"
    assert said in page.inner_text(".totals")
    assert "nothing can be expected" in page.locator(".chart").get_attribute("aria-label")
    one = expect.alike()[7]
    page.locator(".chart circle", has_text=f"{one.notation}:").evaluate(
        "e => e.dispatchEvent(new Event('click'))"
    )
    assert page.url.endswith(f"#{one.notation}")
    assert f"Measured: {100 * one.accuracy:.1f}%, n = 3. Expected" in page.inner_text(".totals")
    assert page.locator(".chart circle.own").count() == 1
