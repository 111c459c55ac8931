"use strict";
// A gallery of samples. Its rows stand in the page itself (Inlined) or come from the server that
// sent it, a page at a time (Served); all else is the same. What is looked at is kept in the
// address behind the #, so a view can be bookmarked.

const OPERATORS = {
  number: ["at least", "at most", "is", "is not", "present", "missing"],
  text: ["is", "is not", "contains", "present", "missing"],
  truth: ["is", "is not", "present", "missing"],
};
const SEARCHED = ["key", "title", "caption", "captions", "style", "artist", "genre", "source_id"];

class Inlined {
  constructor(data) { this.about = data.about; this.cards = data.cards; }

  async load(view, page) {
    const kinds = Object.fromEntries(this.about.columns.map((column) => [column.name, column.kind]));
    const words = view.search.toLowerCase().split(/\s+/).filter(Boolean);
    const found = this.cards.filter((card) => {
      const text = SEARCHED.map((name) => card.fields[name] ?? "").join(" ").toLowerCase();
      return words.every((word) => text.includes(word)) &&
        view.filters.every(([name, how, value]) => holds(card.fields[name], kinds[name], how, value));
    });
    const sign = view.descending ? -1 : 1;
    if (!view.order && view.descending) found.reverse();
    if (view.order) {
      const value = (card) => sortable(card.fields[view.order], kinds[view.order]);
      const rank = (x, y) => (x === y ? 0 : x === undefined ? 1 : y === undefined ? -1 :
        x < y ? -sign : sign);
      found.sort((a, b) => rank(value(a), value(b)));
    }
    const size = this.about.page_size;
    return { total: found.length, cards: found.slice(page * size, (page + 1) * size) };
  }

  address(picture) { return picture.data; }

  async problem() { return ""; }
}

class Served {
  constructor(about) { this.about = about; }

  static async open() { return new Served(await answer("about")); }

  async load(view, page) {
    return answer("cards?" + new URLSearchParams({
      search: view.search, filters: JSON.stringify(view.filters), where: view.where,
      order: view.order, descending: view.descending ? "1" : "", page,
    }));
  }

  address(picture, width) {
    const path = [picture.dataset, picture.key, picture.ext].map(encodeURIComponent).join("/");
    return `picture/${path}?` + new URLSearchParams({ width: width ?? "", v: picture.version });
  }

  async problem(address) { return answer(address).then(() => "", (error) => error.message); }
}

async function answer(path) {
  let found;
  try {
    found = await fetch(path);
  } catch {
    throw new Error("the server does not answer any more: start it again");
  }
  if (!found.ok) throw new Error(await found.text());
  return found.json();
}

function holds(value, kind, how, wanted) {
  if (how === "missing") return value === undefined;
  if (how === "present") return value !== undefined;
  if (how === "is not") return !holds(value, kind, "is", wanted);
  if (value === undefined) return false;
  if (how === "contains") return String(value).toLowerCase().includes(wanted.toLowerCase());
  if (kind !== "number") return String(value) === wanted;
  const number = Number(wanted);
  if (wanted.trim() === "" || Number.isNaN(number)) throw new Error(`${wanted || "nothing"} is no number`);
  return how === "is" ? sortable(value, kind) === number :
    how === "at least" ? sortable(value, kind) >= number : sortable(value, kind) <= number;
}

// Numbers that are none come as texts; NaN is larger than all others, as in DuckDB.
function sortable(value, kind) {
  if (kind !== "number" || typeof value !== "string") return value;
  return value === "-inf" ? -Infinity : Infinity;
}

const $ = (id) => document.getElementById(id);

function made(tag, parts = {}, ...children) {
  const node = Object.assign(document.createElement(tag), parts);
  node.append(...children);
  return node;
}

class Gallery {
  constructor(source) {
    this.source = source;
    this.about = source.about;
    this.asked = 0;  // requests; an answer to any but the last is dropped
    this.cards = [];
    this.total = 0;
    this.broken = 0;
    this.seen = new IntersectionObserver((entries) => entries.filter((e) => e.isIntersecting)
      .forEach((e) => { this.seen.unobserve(e.target); e.target.src = e.target.dataset.src; }),
      { rootMargin: "400px" });
    document.title = this.about.title;
    const datasets = this.about.columns.find((column) => column.name === "dataset");
    this.isMixed = (datasets?.values.length ?? 0) > 1;
    $("title").textContent = this.about.title;
    $("order").append(made("option", { value: "", textContent: "as stored" }),
      ...this.about.columns.map((column) => made("option", { value: column.name, textContent: column.name })));
    $("expression").hidden = !this.about.takes_sql;
    this.listen();
    this.read();
  }

  listen() {
    let timer;
    const change = (parts) => this.go({ page: 0, open: "", ...parts });
    $("search").oninput = () => {
      clearTimeout(timer);
      timer = setTimeout(() => change({ search: $("search").value }), 200);
    };
    $("order").onchange = () => change({ order: $("order").value });
    $("direction").onclick = () => change({ descending: !this.view.descending });
    $("expression").onsubmit = (event) => { event.preventDefault(); change({ where: $("where").value }); };
    $("add").onclick = () => this.filterRow(["", "", ""]);
    $("side").oninput = () => this.resize(Number($("side").value));
    $("side").onchange = () => this.go({ side: Number($("side").value) });
    $("first").onclick = () => this.go({ page: 0 });
    $("previous").onclick = () => this.go({ page: this.view.page - 1 });
    $("next").onclick = () => this.go({ page: this.view.page + 1 });
    $("last").onclick = () => this.go({ page: this.pages() - 1 });
    $("page").onchange = () => this.go({ page: Math.min(Math.max(1, Math.round($("page").value) || 1), this.pages()) - 1 });
    $("close").onclick = () => $("sample").close();
    $("sample").onclose = () => this.view.open && this.go({ open: "" });
    $("sample").onclick = (event) => event.target === $("sample") && $("sample").close();
    $("before").onclick = () => this.step(-1);
    $("after").onclick = () => this.step(1);
    addEventListener("hashchange", () => this.read());
    addEventListener("keydown", (event) => this.pressed(event));
  }

  pressed(event) {
    if (event.target.matches("input, select, textarea") || event.ctrlKey || event.metaKey || event.altKey) return;
    if ($("sample").open) {
      if (event.key === "ArrowLeft") this.step(-1);
      if (event.key === "ArrowRight") this.step(1);
    } else if (event.key === "n" && !$("next").disabled) $("next").click();
    else if (event.key === "p" && !$("previous").disabled) $("previous").click();
    else if (event.key === "/") { event.preventDefault(); $("search").focus(); }
  }

  pages() { return Math.max(1, Math.ceil(this.total / this.about.page_size)); }

  // The view is what stands behind the # of the address.
  read() {
    const parts = new URLSearchParams(location.hash.slice(1));
    let filters = [];
    try { filters = JSON.parse(parts.get("filters") || "[]"); } catch { /* an address cut short */ }
    const before = this.view && this.key(this.view);
    this.view = {
      search: parts.get("search") || "", filters, where: parts.get("where") || "",
      order: parts.get("order") ?? this.about.order, descending: (parts.get("descending") ?? (this.about.descending ? "1" : "")) === "1",
      page: Number(parts.get("page") || 1) - 1, open: parts.get("open") || "",
      side: Number(parts.get("side") || this.about.side),
    };
    this.show(before === this.key(this.view));
  }

  key(view) { return JSON.stringify({ ...view, open: "", side: 0 }); }

  go(parts) {
    const view = { ...this.view, ...parts };
    const kept = new URLSearchParams();
    if (view.search) kept.set("search", view.search);
    if (view.filters.length) kept.set("filters", JSON.stringify(view.filters));
    if (view.where) kept.set("where", view.where);
    if (view.order !== this.about.order) kept.set("order", view.order);
    if (view.descending !== this.about.descending) kept.set("descending", view.descending ? "1" : "");
    if (view.page) kept.set("page", view.page + 1);
    if (view.side !== this.about.side) kept.set("side", view.side);
    if (view.open) kept.set("open", view.open);
    history.pushState(null, "", "#" + kept);
    this.read();
  }

  async show(isSamePage) {
    const view = this.view;
    if (document.activeElement !== $("search")) $("search").value = view.search;
    $("where").value = view.where;
    $("order").value = view.order;
    $("direction").textContent = view.descending ? "↓" : "↑";
    $("side").value = view.side;
    this.resize(view.side);
    if (!isSamePage) {
      const number = ++this.asked;
      this.filterRows();
      document.body.setAttribute("aria-busy", "true");
      try {
        const found = await this.source.load(view, view.page);
        if (number !== this.asked) return;
        this.total = found.total;
        this.cards = found.cards;
        $("error").hidden = true;
        $("cards").classList.remove("refused");
      } catch (error) {
        if (number !== this.asked) return;
        this.total = 0;
        this.cards = [];
        $("error").textContent = error.message;
        $("error").hidden = false;
        $("cards").classList.add("refused");
      }
      this.fill();
    }
    this.opened();
    document.body.setAttribute("aria-busy", "false");
  }

  fill() {
    this.seen.disconnect();
    this.broken = 0;
    $("broken").textContent = "";
    $("cards").replaceChildren(...this.cards.map((card) => this.card(card)));
    const first = this.view.page * this.about.page_size;
    $("page").value = this.view.page + 1;
    $("page").max = this.pages();
    $("pages").textContent = this.pages().toLocaleString("en");
    $("first").disabled = $("previous").disabled = this.view.page <= 0;
    $("last").disabled = $("next").disabled = this.view.page >= this.pages() - 1;
    const range = this.cards.length ? `${(first + 1).toLocaleString("en")}–${(first + this.cards.length).toLocaleString("en")} of ` : "";
    const left = this.about.left_out ? `; ${this.about.left_out.toLocaleString("en")} more are not in this file` : "";
    const isRefused = $("cards").classList.contains("refused");
    $("count").textContent = isRefused ? "" : `${range}${this.total.toLocaleString("en")} samples${left}`;
    scrollTo(0, 0);
  }

  resize(side) { document.documentElement.style.setProperty("--side", `${side}px`); }

  card(card) {
    const shown = [...(this.isMixed ? ["dataset"] : []), "style", ...(this.view.order && this.view.order !== "style" ? [this.view.order] : [])];
    const node = made("div", { className: "card", tabIndex: 0, role: "button" },
      this.pictures(card, this.view.side <= 256 ? 512 : 1024),
      made("div", { className: "line", title: `${card.dataset}/${card.key}` }, made("b", { textContent: card.key })),
      ...shown.filter((name) => card.fields[name] !== undefined).map((name) =>
        made("div", { className: "line", textContent: `${name} ${brief(card.fields[name])}` })));
    node.dataset.sample = `${card.dataset}/${card.key}`;
    node.onclick = () => this.go({ open: node.dataset.sample });
    node.onkeydown = (event) => event.key === "Enter" && node.click();
    return node;
  }

  pictures(card, width) {
    const figures = card.pictures.map((picture) => this.figure(picture, width));
    if (!figures.length) {
      const why = card.fields.error || card.fields.cause || "no picture";
      figures.push(made("figure", {}, made("div", { className: "frame bad", textContent: why })));
    }
    return made("div", { className: "pictures" }, ...figures);
  }

  figure(picture, width) {
    const frame = made("div", { className: "frame" });
    const name = `${picture.dataset}/${picture.key}`;
    const address = this.source.address(picture, width);
    if (address) {
      const image = made("img", { alt: picture.label ? `${picture.label}: ${name}` : name });
      image.dataset.src = address;
      image.onload = () => image.classList.toggle("small", image.naturalWidth <= 96);
      image.onerror = async () => this.failed(frame, name, await this.source.problem(address));
      frame.append(image);
      this.seen.observe(image);
    } else this.failed(frame, name, picture.problem);
    const caption = [picture.label, picture.label && picture.label !== "output" && picture.label !== "target" ? picture.key : ""];
    return made("figure", {}, frame, made("figcaption", { textContent: caption.filter(Boolean).join(" · "), title: name }));
  }

  failed(frame, name, problem) {
    frame.classList.add("bad");
    const text = problem || "cannot be shown";
    frame.textContent = text.includes(name) ? text : `${name}: ${text}`;
    this.broken += 1;
    $("broken").textContent = `${this.broken} cannot be shown`;
  }

  opened() {
    const card = this.cards.find((one) => `${one.dataset}/${one.key}` === this.view.open);
    if (!card) {
      if ($("sample").open) $("sample").close();
      return;
    }
    $("name").textContent = this.view.open;
    $("large").replaceChildren(...this.pictures(card).childNodes);
    $("facts").replaceChildren(...Object.entries(card.fields).map(([name, value]) =>
      made("tr", {}, made("td", { textContent: name }), made("td", { textContent: String(value) }))));
    const place = this.cards.indexOf(card);
    $("before").disabled = place === 0 && this.view.page === 0;
    $("after").disabled = place === this.cards.length - 1 && this.view.page >= this.pages() - 1;
    if (!$("sample").open) $("sample").showModal();
  }

  // To the sample beside the open one, on the page before or behind if need be.
  async step(by) {
    if ((by < 0 ? $("before") : $("after")).disabled) return;
    const place = this.cards.findIndex((one) => `${one.dataset}/${one.key}` === this.view.open) + by;
    let page = this.view.page, cards = this.cards, index = place;
    if (place < 0 || place >= cards.length) {
      page += by;
      cards = (await this.source.load(this.view, page)).cards;
      index = by > 0 ? 0 : cards.length - 1;
    }
    this.go({ page, open: `${cards[index].dataset}/${cards[index].key}` });
  }

  filterRows() {
    const rows = this.view.filters;
    if (JSON.stringify(this.filters()) === JSON.stringify(rows)) return;
    $("filters").replaceChildren();
    rows.forEach((row) => this.filterRow(row));
  }

  filters() {
    return [...$("filters").children].map((row) => row.read()).filter((row) => row[0]);
  }

  // One condition: a column, how it is compared, with what.
  filterRow([name, how, value]) {
    const column = made("select", { ariaLabel: "column" }, made("option", { value: "", textContent: "column …" }),
      ...this.about.columns.map((one) => made("option", { value: one.name, textContent: one.name })));
    const operator = made("select", { ariaLabel: "operator" });
    const list = made("datalist", { id: `values-${Math.random().toString(36).slice(2)}` });
    const input = made("input", { value, ariaLabel: "value" });
    input.setAttribute("list", list.id);
    const remove = made("button", { type: "button", textContent: "×", ariaLabel: "remove filter" });
    const row = made("div", { className: "bar filter" }, column, operator, input, list, remove);
    const choose = () => {
      const about = this.about.columns.find((one) => one.name === column.value);
      operator.replaceChildren(...(OPERATORS[about?.kind] || []).map((text) => made("option", { value: text, textContent: text })));
      list.replaceChildren(...(about?.values || []).map(([text, count]) => made("option", { value: text, label: `${text} (${count})` })));
      input.placeholder = about?.kind === "number" ? `${brief(about.low)} … ${brief(about.high)}` : "";
    };
    const hide = () => { input.hidden = ["present", "missing"].includes(operator.value); };
    const change = () => {
      hide();
      const isWhole = input.hidden || input.value !== "";
      if (isWhole) this.go({ filters: this.filters(), page: 0, open: "" });
    };
    column.value = name;
    choose();
    if (how) operator.value = how;
    hide();
    row.read = () => [input.hidden || input.value !== "" ? column.value : "", operator.value, input.hidden ? "" : input.value];
    column.onchange = () => { choose(); input.value = ""; hide(); };
    operator.onchange = change;
    input.onchange = change;
    remove.onclick = () => { row.remove(); this.go({ filters: this.filters(), page: 0, open: "" }); };
    $("filters").append(row);
    if (!name) column.focus();
  }
}

function brief(value) {
  return typeof value === "number" && !Number.isInteger(value) ? Number(value.toPrecision(4)).toString() : String(value);
}

async function start() {
  const inside = document.getElementById("data");
  try {
    window.gallery = new Gallery(inside ? new Inlined(JSON.parse(inside.textContent)) : await Served.open());
  } catch (error) {
    $("error").textContent = error.message;
    $("error").hidden = false;
  }
}
start();
