package browser

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	_ "portico/proto/portico/v1" // describes itself to the registry
	"portico/test/gateway"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"
)

// choose takes one of the choices of the form, as a click does it.
func choose(name, value string) chromedp.Action[chromedp.Void] {
	radio := fmt.Sprintf(`document.querySelector('input[name=%q][value=%q]')`, name, value)
	return chromedp.Click(chromedp.JSPath(radio + ".parentElement"))
}

func TestMessageFromHTTPAppears(t *testing.T) {
	g := start(t)
	ctx := page(t, g)
	do(t, ctx, shows("#patterns", ">"))
	post(t, g.Doors["HTTP"]+"/v1/publish/orders.eu.new", `{"item":7}`)
	do(t, ctx, shows("#messages .subject", "orders.eu.new"), shows("#messages .preview", `{"item":7}`), shows("#count", "1 received"))
}

func TestPublishAndRequest(t *testing.T) {
	ctx := page(t, start(t))
	for _, door := range []string{"WebSocket", "HTTP"} {
		do(t, ctx,
			choose("door", door), choose("verb", "publish"), shows("#patterns", ">"),
			fill("#subject", "greet."+door), fill("#payload", "<b>good day</b>"),
			click("#run"),
			shows("#send [role=status]", "Published: heard by a subscriber."),
			shows("#messages .subject", "greet."+door),
			shows("#messages .preview", "<b>good day</b>"),
		)
	}
	do(t, ctx, click("#patterns button"), chromedp.WaitNotPresent(chromedp.CSS("#patterns li"))) // the tap listens to all, and does not answer
	for door, says := range map[string]string{"WebSocket": "no-responders", "HTTP": "503 no-responders"} {
		do(t, ctx, choose("door", door), choose("verb", "request"), fill("#subject", "nobody.there"), click("#run"), shows("#send [role=status].failed", says))
	}
}

func TestRequestIsAnswered(t *testing.T) {
	g := start(t)
	ctx := page(t, g)
	do(t, ctx, shows("#patterns", ">"), choose("verb", "request"), fill("#subject", "what.is"), fill("#payload", "6*7"), click("#run"))
	do(t, ctx, shows("#messages .preview", "6*7"))
	answer := `[...document.querySelectorAll("#messages button")].find((b) => b.textContent === "Answer")`
	do(t, ctx, chromedp.Click(chromedp.JSPath(answer)), fill("#payload", `{"is":42}`), click("#run"), shows("#answer .payload", `is: 42`))
}

// TestInspector: JSON is a tree that unfolds, anything else text or bytes.
func TestInspector(t *testing.T) {
	g := start(t)
	ctx := page(t, g)
	do(t, ctx, shows("#patterns", ">"))
	post(t, g.Doors["HTTP"]+"/v1/publish/doc", `{"order":{"items":[1,"two",null]},"paid":true}`)
	do(t, ctx, shows("#messages .subject", "doc"), click("#messages li summary"), shows("#messages .payload", "order: { 1 field }"), shows("#messages .payload", "paid: true"))
	do(t, ctx, click("#messages .branch .branch > summary"), click("#messages .branch .branch .branch > summary"), shows("#messages .payload", `1: "two"`), shows("#messages .payload", "2: null"))
	do(t, ctx, chromedp.Click(chromedp.JSPath(`document.querySelector("#messages .segments label:last-child")`)), shows("#messages .payload pre", "000000  7b 22 6f"))
	post(t, g.Doors["HTTP"]+"/v1/publish/bytes", "\xff\x00A")
	do(t, ctx, shows("#messages .subject", "bytes"), shows("#messages .preview", "binary"), click("#messages li:first-child summary"), shows("#messages .payload pre", "ff 00 41"))
}

// TestFilters: the gateway sends only what has the header, and the page shows only what has the words.
func TestFilters(t *testing.T) {
	g := start(t)
	ctx := page(t, g)
	do(t, ctx,
		shows("#patterns", ">"), click("#patterns button"), chromedp.WaitNotPresent(chromedp.CSS("#patterns li")),
		click("#subscribe summary"), fill("#pattern", "shop.>"), fill("#filter-header", "color"), fill("#filter-value", "red"), click("#subscribe button.primary"),
		shows("#patterns", "shop.> [color=red]"),
		fill("#subject", "shop.a"), fill("#payload", "apple"), click("#send .more summary"), fill("#headers", "color: green"), click("#run"), shows("#send [role=status]", "Published"),
		fill("#headers", "color: red"), fill("#payload", "cherry"), click("#run"), shows("#messages .preview", "cherry"), shows("#count", "1 received"),
		fill("#search", "CURRANT"), fill("#payload", "tomato"), click("#run"), shows("#count", "2 received"),
		fill("#payload", "currant"), click("#run"), shows("#messages .preview", "currant"),
	)
	if rows := value[[]string](t, ctx, previews); strings.Join(rows, " ") != "currant cherry" {
		t.Errorf("the tap shows %v", rows)
	}
}

const previews = `[...document.querySelectorAll("#messages .preview")].map((e) => e.textContent)`

func TestPauseAndClear(t *testing.T) {
	g := start(t)
	ctx := page(t, g)
	do(t, ctx, shows("#patterns", ">"), click("#pause"))
	post(t, g.Doors["HTTP"]+"/v1/publish/while.paused", "x")
	do(t, ctx, shows("#count", "1 received, paused"), click("#pause"))
	post(t, g.Doors["HTTP"]+"/v1/publish/after.pause", "y")
	do(t, ctx, shows("#messages .subject", "after.pause"))
	if rows := value[[]string](t, ctx, previews); len(rows) != 1 {
		t.Errorf("the tap shows %v, want only what came after the pause", rows)
	}
	do(t, ctx, click("#clear"), shows("#count", "0 received"))
	if rows := value[[]string](t, ctx, previews); len(rows) != 0 {
		t.Errorf("the cleared tap shows %v", rows)
	}
}

// TestListIsBounded: however much comes, the page holds the newest three hundred.
func TestListIsBounded(t *testing.T) {
	g := start(t)
	ctx := page(t, g)
	do(t, ctx, shows("#patterns", ">"))
	var batch strings.Builder
	for n := range 900 {
		fmt.Fprintf(&batch, "{\"subject\":\"many\",\"data\":\"%d\"}\n", n)
	}
	request(t, "POST", g.Doors["HTTP"]+"/v1/publish", "application/x-ndjson", batch.String())
	do(t, ctx, shows("#messages .preview", "899"))
	if rows := value[int](t, ctx, `document.querySelectorAll("#messages > li").length`); rows != 300 {
		t.Errorf("the list has %d rows", rows)
	}
}

func TestWork(t *testing.T) {
	g := start(t)
	ctx := page(t, g)
	settle := func(label string) chromedp.Action[chromedp.Void] {
		return chromedp.Click(chromedp.JSPath(fmt.Sprintf(`[...document.querySelectorAll("#deliveries li:first-child button")].find((b) => b.textContent === %s)`, quoted(label))))
	}
	do(t, ctx,
		fill("#queue-name", "jobs"), fill("#queue-pattern", "work.>"),
		click(`#queue button[value="declare"]`), shows("#queue [role=status]", "Created; it keeps"),
		choose("verb", "append"), fill("#subject", "jobs"), fill("#payload", "dig"), click("#run"), shows("#send [role=status]", "Kept."),
		click("#consume"),
		shows("#deliveries .preview", "dig"), shows("#deliveries .attempt", "attempt 1"),
		settle("Requeue"), shows("#deliveries .attempt", "attempt 2"),
		settle("Ack"), chromedp.WaitNotPresent(chromedp.CSS("#deliveries li")),
	)
	post(t, g.Doors["HTTP"]+"/v1/publish/work.new", "plant")
	do(t, ctx, shows("#deliveries .preview", "plant"), click("#consume"), shows("#queue [role=status]", "Stopped; 1 went back."))
	if state := get(t, g.Doors["HTTP"]+"/v1/queues/jobs"); !strings.Contains(state, `"ready":1`) {
		t.Errorf("the queue is %s, want one ready message", state)
	}
	do(t, ctx, click(`#queue button[value="purge"]`), shows("#queue [role=status]", "Removed 1 that was ready."))
}

// TestReconnects: the tap and the consumer go on after a restart, and the page tells that it may have missed something.
func TestReconnects(t *testing.T) {
	browser(t)
	g := gateway.Run(t, exec.Command(program(t)))
	ctx := page(t, g)
	do(t, ctx, shows("#patterns", ">"), click(`#queue button[value="declare"]`), shows("#queue [role=status]", "Created"), click("#consume"), shows("#consume", "Stop"))
	g.Signal(t, syscall.SIGKILL)
	g.Wait(t)
	do(t, ctx, shows("#state", "Connection lost"))
	gateway.RunIn(t, g.Dir, exec.Command(program(t), "--http-listen", strings.TrimPrefix(g.Doors["HTTP"], "http://")))
	do(t, ctx, shows("#state", "Connected"), shows("#messages .gap", "may have been missed"))
	do(t, ctx, fill("#subject", "after.all"), click("#run"), shows("#messages .subject", "after.all"))
	do(t, ctx, choose("verb", "append"), fill("#subject", "jobs"), click("#run"), shows("#deliveries .preview", "hello"))
}

func TestSignIn(t *testing.T) {
	ctx := open(t, start(t, "--users", `[{"name":"ann","password":"secret"}]`))
	do(t, ctx,
		shows("#state", "Sign in"), chromedp.WaitVisible(chromedp.CSS("#login")),
		fill("#user", "ann"), fill("#password", "wrong"), click("#login button"),
		shows("#state", "Sign in to connect (unauthenticated"),
		fill("#user", "ann"), fill("#password", "secret"), click("#login button"),
		shows("#state", "Connected as ann"), chromedp.WaitNotVisible(chromedp.CSS("#login")),
		choose("door", "HTTP"), shows("#snippets pre", "-u ann:PASSWORD"), click("#run"), shows("#send [role=status]", "Published"),
	)
}

// TestSnippets: the commands that the page shows do what they say. grpcurl and nats cannot be had by a package: of the former what it would send is checked, the
// latter is only looked at.
func TestSnippets(t *testing.T) {
	g := start(t)
	ctx := page(t, g)
	shell := gateway.Needs(t, "bash", "bash")
	const payload = `it's 100% "quoted" \ $HOME`
	do(t, ctx, shows("#patterns", ">"), fill("#payload", payload))
	for door, tool := range map[string]string{"HTTP": "curl", "AMQP": "amqp-publish", "MQTT": "mosquitto_pub", "STOMP": "curl"} {
		t.Run(door, func(t *testing.T) {
			gateway.Needs(t, tool, tool)
			do(t, ctx, choose("door", door), fill("#subject", "snippet."+door), shows("#snippets", tool))
			command := value[string](t, ctx, `document.querySelector("#snippets pre").textContent`)
			if out, err := exec.CommandContext(t.Context(), shell, "-c", command).CombinedOutput(); err != nil {
				t.Fatalf("%s: %v\n%s", command, err, out)
			}
			do(t, ctx, shows("#messages .subject", "snippet."+door), shows("#messages .preview", payload))
		})
	}
	t.Run("wscat", func(t *testing.T) {
		gateway.Needs(t, "npm", "npm")
		dir, err := packages()
		if err != nil {
			t.Fatal(err)
		}
		do(t, ctx, choose("door", "WebSocket"), fill("#subject", "snippet.wscat"), shows("#snippets", "snippet.wscat"))
		command := value[string](t, ctx, `document.querySelector("#snippets pre[aria-label=wscat]").textContent`)
		cmd := exec.CommandContext(t.Context(), shell, "-c", filepath.Join(dir, "node_modules", ".bin")+"/"+command)
		if _, err := cmd.StdinPipe(); err != nil { // it leaves when nobody can type any more
			t.Fatal(err)
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
		do(t, ctx, shows("#messages .subject", "snippet.wscat"), shows("#messages .preview", payload))
	})
	t.Run("JavaScript", func(t *testing.T) {
		do(t, ctx, choose("door", "WebSocket"), fill("#subject", "snippet.js"), shows("#snippets", "snippet.js"))
		script := value[string](t, ctx, `document.querySelector("#snippets pre").textContent`)
		site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprintf(w, `<!doctype html><title>snippet</title><link rel="icon" href="data:,"><script type="module">%s</script>`, script)
		}))
		defer site.Close()
		visit(t, "http://127.0.0.1:", site.URL, func(any) {})
		do(t, ctx, shows("#messages .subject", "snippet.js"), shows("#messages .preview", payload))
	})
	for _, door := range []string{"WebSocket", "HTTP", "gRPC", "AMQP", "NATS", "MQTT", "STOMP"} {
		for _, verb := range []string{"publish", "request", "subscribe", "append", "consume"} {
			do(t, ctx, choose("door", door), choose("verb", verb))
			if text := value[string](t, ctx, `document.querySelector("#snippets").textContent`); text == "" || strings.Contains(text, "undefined") || strings.Contains(text, "closed") {
				t.Errorf("%s, %s: %q", door, verb, text)
			} else if door == "gRPC" {
				fitsSchema(t, text)
			}
		}
	}
}

// fitsSchema holds what grpcurl would be told against the service's description.
func fitsSchema(t *testing.T, command string) {
	t.Helper()
	parts := regexp.MustCompile(`-d '(.*)' \S+ (portico\.v1\.PorticoService)/(\w+)$`).FindStringSubmatch(command)
	if parts == nil {
		t.Fatalf("%q is not a line of grpcurl", command)
	}
	found, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(parts[2] + "." + parts[3]))
	if err != nil {
		t.Fatalf("%s: %v", command, err)
	}
	request := dynamicpb.NewMessage(found.(protoreflect.MethodDescriptor).Input())
	if err := protojson.Unmarshal([]byte(strings.ReplaceAll(parts[1], `'\''`, "'")), request); err != nil {
		t.Errorf("%s: %v", command, err)
	}
}

// TestKeyboardOnly: everything of importance, without a mouse.
func TestKeyboardOnly(t *testing.T) {
	ctx := page(t, start(t))
	do(t, ctx, shows("#patterns", ">"),
		keys("s"), typed("orders.eu.new"), tabTo("#payload"), typed(`{"a":{"b":[1]}}`), keys(kb.Enter, chromedp.ModifierCtrl),
		shows("#send [role=status]", "Published: heard"),
		keys(kb.Tab), keys(kb.Escape), tabTo("#clear"), keys("/"), typed("other.>"), keys(kb.Enter), shows("#patterns", "other.>"),
	)
	do(t, ctx, // a message, the one before it, and what is in it
		tabTo("#subject"), typed("orders.second"), keys(kb.Enter, chromedp.ModifierCtrl), shows("#messages .subject", "orders.second"),
		tabTo("#messages summary"), keys(kb.ArrowDown), keys(kb.Enter), shows("#messages li:last-child .payload", "a: { 1 field }"),
		tabTo("#messages .branch .branch > summary"), keys(kb.Enter), shows("#messages .payload", "b: [ 1 item ]"),
	)
	do(t, ctx, // work: append, refuse, take
		tabTo("#queue-name"), typed("keyed"), tabTo(`#queue button[value="declare"]`), keys(kb.Enter), shows("#queue [role=status]", "Created"),
		tabTo(`input[name="verb"]`), keys(kb.ArrowRight), keys(kb.ArrowRight), keys(kb.ArrowRight), shows("#run", "Append"),
		keys("s"), typed("keyed"), keys(kb.Enter, chromedp.ModifierCtrl), shows("#send [role=status]", "Kept."),
		tabTo("#consume"), keys(kb.Enter), shows("#deliveries .attempt", "attempt 1"),
		tabTo("#deliveries summary"), keys("r"), shows("#deliveries .attempt", "attempt 2"),
		tabTo("#deliveries summary"), keys("a"), chromedp.WaitNotPresent(chromedp.CSS("#deliveries li")),
	)
	do(t, ctx, // the theme, the list of keys, and another door
		tabTo("#theme"), keys(kb.Enter), shows("#theme", "dark"),
		keys("?"), chromedp.WaitVisible(chromedp.CSS("#help")), keys(kb.Escape), chromedp.WaitNotVisible(chromedp.CSS("#help")),
		tabTo(`input[name="door"]`), keys(kb.ArrowRight), shows("#snippets h3", "curl"),
	)
	if ground := value[string](t, ctx, `getComputedStyle(document.body).backgroundColor`); ground != "rgb(20, 18, 17)" {
		t.Errorf("the dark page has the ground %s", ground)
	}
	if unnamed := value[[]string](t, ctx, nameless); len(unnamed) != 0 {
		t.Errorf("controls without a name: %v", unnamed)
	}
}

// nameless are the controls that a screen reader could not tell.
const nameless = `[...document.querySelectorAll("input, textarea, select, button, [role=region], dialog")]
	.filter((e) => !(e.labels?.length || e.textContent.trim() || e.getAttribute("aria-label") || e.getAttribute("aria-labelledby")))
	.map((e) => e.outerHTML)`

// TestFits: nothing sticks out on the narrowest telephone, in either colour scheme. With SCREENSHOTS=DIR it leaves pictures there.
func TestFits(t *testing.T) {
	g := start(t)
	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int64{360, 1280} {
			t.Run(fmt.Sprintf("%s %d", scheme, width), func(t *testing.T) {
				ctx := page(t, g, chromedp.EmulateViewport(width, 900), colours(scheme))
				do(t, ctx, shows("#patterns", ">"))
				post(t, g.Doors["HTTP"]+"/v1/publish/a.rather.long.subject.with.many.tokens.in.it", strings.Repeat("unbreakable", 40))
				do(t, ctx, shows("#messages .subject", "a.rather.long"), click("#messages summary"))
				if wide := value[int64](t, ctx, "document.documentElement.scrollWidth"); wide > width {
					t.Errorf("the page is %d pixels wide on a screen of %d", wide, width)
				}
				screenshot(t, ctx, fmt.Sprintf("%s-%d.png", scheme, width))
			})
		}
	}
}
