// Package layout checks the shape of the tree: which package may import which, and how long files and functions may be.
// The reasons are in docs/architecture.md.
package layout

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "portico"

// Budgets for hand-written code. Aim at half of the first and an eighth of the second.
const (
	maxFileLines = 500
	maxFuncLines = 80
)

// A layer is one folder of packages and what it may import.
type layer struct {
	inside   []string // packages of this module, below the module path; a trailing /... means everything below too
	outside  bool     // whether modules other than this one and the standard library may be imported
	nats     bool     // whether nats-server and nats.go may be imported
	notStd   []string // packages of the standard library that may not be imported
	testOnly bool     // only tests (and other testOnly layers) may import it
}

// layers are the arrows. A folder that holds Go files and has no row here is an error, and so is a row without its folder.
var layers = map[string]layer{
	"cmd/gateway": {inside: []string{"core", "core/audit", "core/certs", "core/identity", "core/policy", "core/limits", "adapters/amqp", "adapters/grpc", "adapters/grpc/proxy", "adapters/grpc/relay", "adapters/http", "adapters/http/webhook", "adapters/websocket", "web"}, outside: true},

	"core":                        {inside: []string{"core/audit", "core/certs", "core/limits", "core/queue", "core/jslog", "core/identity", "core/policy"}, outside: true, nats: true},
	"core/jslog":                  {inside: []string{"core/queue"}, outside: true, nats: true},
	"core/queue":                  {},
	"core/certs":                  {inside: []string{"core/certs/certstest"}}, // its tests
	"core/audit":                  {},
	"core/limits":                 {outside: true},
	"core/certs/certstest":        {testOnly: true},
	"core/policy":                 {outside: true}, // its tests
	"core/identity":               {inside: []string{"core/policy"}, outside: true},
	"core/coretest":               {inside: []string{"core"}, outside: true, nats: true, testOnly: true},
	"core/queue/queuetest":        {inside: []string{"core/queue"}, outside: true, testOnly: true},
	"adapters/http":               {inside: []string{"core", "core/certs", "core/limits", "core/policy", "core/queue", "adapters/http/inbound", "adapters/http/webhook"}, outside: true},
	"adapters/http/inbound":       {outside: true},
	"adapters/http/webhook":       {inside: []string{"core", "core/queue"}, outside: true},
	"adapters/websocket":          {inside: []string{"core", "core/certs", "core/limits", "core/policy", "core/queue", "adapters/websocket/outbound", "adapters/websocket/stomp"}, outside: true},
	"adapters/grpc/web":           {inside: []string{"core", "adapters/grpc", "proto/..."}, outside: true}, // its tests run the door
	"adapters/grpc/client":        {inside: []string{"core", "adapters/grpc", "proto/..."}, outside: true}, // its tests run the door
	"docs/examples/grpc/go":       {inside: []string{"adapters/grpc/client", "proto/..."}, outside: true},
	"adapters/grpc":               {inside: []string{"core", "core/certs", "core/limits", "core/policy", "core/queue", "adapters/grpc/proxy", "adapters/grpc/web", "proto/..."}, outside: true},
	"adapters/grpc/proxy":         {inside: []string{"core", "core/policy", "adapters/grpc", "adapters/grpc/relay", "adapters/grpc/relay/survey", "adapters/grpc/relay/tunnel", "proto/..."}, outside: true}, // its tests run the door and a relay
	"adapters/grpc/relay":         {inside: []string{"adapters/grpc/relay/survey", "adapters/grpc/relay/tunnel", "proto/..."}, outside: true},
	"adapters/grpc/relay/survey":  {outside: true},
	"adapters/grpc/relay/tunnel":  {inside: []string{"proto/..."}, outside: true},
	"adapters/websocket/outbound": {outside: true},
	"adapters/websocket/stomp":    {inside: []string{"core", "core/policy", "core/queue", "adapters/websocket/outbound"}, outside: true},
	"adapters/amqp":               {inside: []string{"core", "core/certs", "core/limits", "core/policy", "core/queue", "adapters/amqp/broker", "adapters/amqp/wire"}, outside: true},
	"adapters/amqp/broker":        {inside: []string{"adapters/amqp/wire"}, notStd: []string{"net", "log"}},
	"adapters/amqp/wire":          {notStd: []string{"net", "log"}},
	"adapters/amqp/wire/gen":      {},
	"proto/portico/v1":            {outside: true},
	"web":                         {},
	"web/build":                   {outside: true},
	"web/build/generate":          {inside: []string{"web/build"}},
	"proto/portico/relay/v1":      {outside: true},
	"test":                        {inside: []string{"..."}, outside: true, nats: true, testOnly: true},
	"test/amqp091":                {inside: []string{"..."}, outside: true, nats: true, testOnly: true},
	"test/crash":                  {inside: []string{"..."}, outside: true, nats: true, testOnly: true},
	"test/bench/grpc":             {inside: []string{"proto/...", "test/gateway"}, outside: true, nats: true, testOnly: true},
	"test/bench/http":             {inside: []string{"test/gateway"}, outside: true, testOnly: true},
	"test/bench/websocket":        {inside: []string{"test/gateway"}, outside: true, testOnly: true},
	"test/bench/security":         {inside: []string{"proto/...", "test/gateway"}, outside: true, testOnly: true},
	"test/bench/scale":            {inside: []string{"test/gateway"}, outside: true, testOnly: true},
	"test/differential":           {inside: []string{"..."}, outside: true, nats: true, testOnly: true},
	"test/grpcproxy":              {inside: []string{"..."}, outside: true, nats: true, testOnly: true},
	"test/websocket":              {inside: []string{"..."}, outside: true, nats: true, testOnly: true},
	"test/stomp":                  {inside: []string{"..."}, outside: true, nats: true, testOnly: true},
	"test/oidc":                   {inside: []string{"test/gateway", "proto/..."}, outside: true, nats: true, testOnly: true},
	"test/openapi":                {inside: []string{"..."}, outside: true, nats: true, testOnly: true},
	"test/webhook":                {inside: []string{"..."}, outside: true, nats: true, testOnly: true},
	"test/soak":                   {inside: []string{"test/gateway"}, outside: true, testOnly: true},
	"test/browser":                {inside: []string{"..."}, outside: true, nats: true, testOnly: true},
	"test/e2e":                    {inside: []string{"..."}, outside: true, nats: true, testOnly: true},
	"test/security":               {inside: []string{"..."}, outside: true, nats: true, testOnly: true},
	"test/hostile":                {inside: []string{"..."}, outside: true, nats: true, testOnly: true},
	"test/gateway":                {inside: nil, outside: true, testOnly: true},
	"test/foreign":                {inside: []string{"..."}, outside: true, nats: true, testOnly: true},
}

// exceptions are files and functions over budget, each with the reason why splitting would make it worse.
// Keys are "path" or "path:Func" ("path:Type.Method").
var exceptions = map[string]string{}

// vagueNames say nothing about what a package is for.
var vagueNames = []string{"util", "utils", "common", "helper", "helpers", "misc", "shared", "interfaces", "types"}

// source is one parsed file.
type source struct {
	path string // below the module's root, with slashes
	dir  string
	test bool
	gen  bool
	fset *token.FileSet
	ast  *ast.File
}

func (s source) line(p token.Pos) int { return s.fset.Position(p).Line }

// tree parses every Go file of the module. Folders with a go.mod of their own (tools) are other modules.
func tree(t *testing.T) []source {
	t.Helper()
	root := os.DirFS("..")
	var all []source
	err := fs.WalkDir(root, ".", func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			return skip(root, p)
		case strings.HasSuffix(p, ".go"):
			s, err := parse(p)
			all = append(all, s)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 20 {
		t.Fatalf("found %d Go files: the test looks in the wrong place", len(all))
	}
	return all
}

func skip(root fs.FS, dir string) error {
	name := path.Base(dir)
	if dir != "." && (name[0] == '.' || name == "testdata" || name == "node_modules") {
		return fs.SkipDir
	}
	if _, err := fs.Stat(root, path.Join(dir, "go.mod")); err == nil && dir != "." {
		return fs.SkipDir
	}
	return nil
}

func parse(p string) (source, error) {
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, filepath.Join("..", filepath.FromSlash(p)), nil, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return source{}, err
	}
	return source{path: p, dir: path.Dir(p), test: strings.HasSuffix(p, "_test.go"), gen: ast.IsGenerated(f), fset: fset, ast: f}, nil
}

func TestEveryFolderHasItsRow(t *testing.T) {
	holds := map[string]bool{}
	for _, s := range tree(t) {
		holds[s.dir] = true
	}
	for _, dir := range slices.Sorted(maps.Keys(holds)) {
		if _, ok := layers[dir]; !ok {
			t.Errorf("%s holds Go files and has no row in layers: say what it may import", dir)
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(layers)) {
		if !holds[dir] {
			t.Errorf("layers has a row for %s, which holds no Go files", dir)
		}
	}
}

func TestImportArrows(t *testing.T) {
	for _, s := range tree(t) {
		row, ok := layers[s.dir]
		if !ok {
			continue // told by TestEveryFolderHasItsRow
		}
		for _, spec := range s.ast.Imports {
			imported := strings.Trim(spec.Path.Value, `"`)
			if why := forbidden(s, row, imported); why != "" {
				t.Errorf("%s:%d imports %s: %s", s.path, s.line(spec.Pos()), imported, why)
			}
		}
	}
}

// forbidden tells why the file may not import the package, or "".
func forbidden(s source, row layer, imported string) string {
	if inside, ok := strings.CutPrefix(imported, module+"/"); ok {
		return forbiddenInside(s, row, inside)
	}
	first, _, _ := strings.Cut(imported, "/")
	switch std := !strings.Contains(first, "."); {
	case s.test:
		return "" // tests bring real clients of every kind
	case std && slices.ContainsFunc(row.notStd, func(p string) bool { return below(imported, p) }):
		return "this layer knows no sockets and no logging"
	case std:
		return ""
	case !row.outside:
		return "this layer uses nothing but the standard library"
	case strings.HasPrefix(imported, "github.com/nats-io/") && !row.nats:
		return "only core knows NATS"
	}
	return ""
}

func forbiddenInside(s source, row layer, imported string) string {
	if imported == s.dir { // an external test
		return ""
	}
	to, known := layers[imported]
	switch {
	case !known:
		return "that folder has no row in layers"
	case to.testOnly && (s.test || row.testOnly):
		return ""
	case to.testOnly:
		return "only tests may"
	case slices.ContainsFunc(row.inside, func(p string) bool { return covers(p, imported) }):
		return ""
	case s.test && imported == "web/build" && s.dir == "web":
		return "" // proves that the committed assets are current; esbuild stays out of the product
	}
	return s.dir + " has no arrow to it"
}

// covers tells whether the pattern (a package, or a folder with /...) covers the package.
func covers(pattern, pkg string) bool {
	if dir, ok := strings.CutSuffix(pattern, "..."); ok {
		return strings.HasPrefix(pkg, dir)
	}
	return pattern == pkg
}

// below tells whether pkg is root or a package below it.
func below(pkg, root string) bool { return pkg == root || strings.HasPrefix(pkg, root+"/") }

func TestBudgets(t *testing.T) {
	used := map[string]bool{}
	over := func(key string, lines, budget int) {
		if lines <= budget {
			return
		}
		used[key] = true
		if exceptions[key] == "" {
			t.Errorf("%s has %d lines, the budget is %d: split it by what changes together, or argue it in exceptions", key, lines, budget)
		}
	}
	for _, s := range tree(t) {
		if s.test || s.gen {
			continue
		}
		over(s.path, s.line(s.ast.FileEnd), maxFileLines)
		for _, d := range s.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok {
				over(s.path+":"+funcName(fn), s.line(fn.End())-s.line(fn.Pos())+1, maxFuncLines)
			}
		}
	}
	for key := range exceptions {
		if !used[key] {
			t.Errorf("exceptions names %s, which is not over budget", key)
		}
	}
}

// funcName is "Func" or "Type.Method".
func funcName(fn *ast.FuncDecl) string {
	if fn.Recv == nil || len(fn.Recv.List) == 0 {
		return fn.Name.Name
	}
	typ := fn.Recv.List[0].Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	if index, ok := typ.(*ast.IndexExpr); ok {
		typ = index.X
	}
	return fmt.Sprintf("%s.%s", typ, fn.Name.Name)
}

func TestNoInit(t *testing.T) {
	for _, s := range tree(t) {
		if s.gen {
			continue // protobuf registers its descriptors
		}
		for _, d := range s.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				t.Errorf("%s:%d: func init: effects belong where somebody calls them", s.path, s.line(fn.Pos()))
			}
		}
	}
}

// TestExitOnlyInMain: a library that ends the process takes everybody's messages with it.
func TestExitOnlyInMain(t *testing.T) {
	for _, s := range tree(t) {
		if s.test {
			continue
		}
		for _, d := range s.ast.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if ok && s.ast.Name.Name == "main" && fn.Recv == nil && fn.Name.Name == "main" {
				continue
			}
			ast.Inspect(d, func(n ast.Node) bool {
				if sel, ok := n.(*ast.SelectorExpr); ok && exits(sel) {
					t.Errorf("%s:%d: %s.%s outside main", s.path, s.line(sel.Pos()), sel.X, sel.Sel.Name)
				}
				return true
			})
		}
	}
}

// exits tells whether the selector is a function that ends the process.
func exits(sel *ast.SelectorExpr) bool {
	pkg, ok := sel.X.(*ast.Ident)
	if !ok {
		return false
	}
	switch pkg.Name {
	case "os", "syscall", "unix":
		return sel.Sel.Name == "Exit"
	case "log":
		return strings.HasPrefix(sel.Sel.Name, "Fatal")
	}
	return false
}

func TestPackageNames(t *testing.T) {
	for _, s := range tree(t) {
		if name := strings.TrimSuffix(s.ast.Name.Name, "_test"); slices.Contains(vagueNames, name) {
			t.Errorf("%s: package %s: name it after what it is for", s.path, name)
		}
	}
}

// TestForbidden proves that the rules forbid something.
func TestForbidden(t *testing.T) {
	for name, c := range map[string]struct {
		dir, imported string
		test          bool
		want          bool // forbidden
	}{
		"core knows no adapter":              {"core", "portico/adapters/http", false, true},
		"not even in tests":                  {"core", "portico/adapters/http", true, true},
		"core knows NATS":                    {"core", "github.com/nats-io/nats.go", false, false},
		"no door knows NATS":                 {"adapters/http", "github.com/nats-io/nats.go", false, true},
		"its tests may":                      {"adapters/http", "github.com/nats-io/nats.go", true, false},
		"no door knows another":              {"adapters/http", "portico/adapters/websocket", false, true},
		"the broker knows no sockets":        {"adapters/amqp/broker", "net", false, true},
		"nor by net/http":                    {"adapters/amqp/broker", "net/http", false, true},
		"nor core":                           {"adapters/amqp/broker", "portico/core", false, true},
		"the codec does not log":             {"adapters/amqp/wire", "log/slog", false, true},
		"the codec is std only":              {"adapters/amqp/wire", "golang.org/x/sys/unix", false, true},
		"the engine is std only":             {"core/queue", "github.com/nats-io/nats.go", false, true},
		"the engine does not know core":      {"core/queue", "portico/core", false, true},
		"products use no test packages":      {"adapters/amqp", "portico/core/coretest", false, true},
		"tests do":                           {"adapters/amqp", "portico/core/coretest", true, false},
		"unknown folders are forbidden":      {"cmd/gateway", "portico/misc", false, true},
		"esbuild stays out of the product":   {"web", "portico/web/build", false, true},
		"but proves that assets are current": {"web", "portico/web/build", true, false},
	} {
		t.Run(name, func(t *testing.T) {
			if why := forbidden(source{dir: c.dir, test: c.test}, layers[c.dir], c.imported); (why != "") != c.want {
				t.Errorf("%s importing %s: %q", c.dir, c.imported, why)
			}
		})
	}
}
