package web_test

import (
	"bytes"
	"compress/gzip"
	"io/fs"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"portico/web"
	"portico/web/build"
)

// What each part may cost at most, compressed: the playground, which a newcomer sees first and which has the library in it, the reference with what it shares, the library, and its
// binary encoding.
const (
	budget          = 24 << 10
	referenceBudget = 10 << 10
	libraryBudget   = 8 << 10
	cborBudget      = 2 << 10
)

func assets(t *testing.T) map[string][]byte {
	t.Helper()
	files, err := web.Assets()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]byte{}
	err = fs.WalkDir(files, ".", func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		all[file], err = fs.ReadFile(files, file)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestDistIsCurrent(t *testing.T) {
	built, err := build.Build(".")
	if err != nil {
		t.Fatal(err)
	}
	committed := assets(t)
	if want, got := slices.Sorted(maps.Keys(built)), slices.Sorted(maps.Keys(committed)); !slices.Equal(want, got) {
		t.Fatalf("dist holds %v, the sources make %v: run go generate ./web", got, want)
	}
	for name, want := range built {
		if !bytes.Equal(committed[name], want) {
			t.Errorf("dist/%s is not what the sources make: run go generate ./web", name)
		}
	}
}

// TestManualIsCurrent: the documentation of the library says what its declarations say, and shows the examples that are run.
func TestManualIsCurrent(t *testing.T) {
	committed, err := os.ReadFile("../docs/browser.md")
	if err != nil {
		t.Fatal(err)
	}
	made, err := build.Manual(".", committed)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(committed, made) {
		t.Error("docs/browser.md is not what the declarations and examples make: run go generate ./web")
	}
	for _, part := range []string{"### Connection", "| `publish(subject: string,", "### cbor", "await jobs.declare("} {
		if !strings.Contains(string(made), part) {
			t.Errorf("docs/browser.md lacks %q", part)
		}
	}
}

func TestSize(t *testing.T) {
	top := func(file string) bool { return !strings.Contains(file, "/") }
	for name, c := range map[string]struct {
		has  func(file string) bool
		most int
	}{
		"playground":      {top, budget},
		"reference":       {func(file string) bool { return strings.HasPrefix(file, "reference/") }, referenceBudget},
		"library":         {func(file string) bool { return file == "client/portico.js" }, libraryBudget},
		"binary encoding": {func(file string) bool { return file == "client/cbor.js" }, cborBudget},
	} {
		t.Run(name, func(t *testing.T) {
			var packed bytes.Buffer
			zip, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
			if err != nil {
				t.Fatal(err)
			}
			all := assets(t)
			for _, file := range slices.Sorted(maps.Keys(all)) {
				if !c.has(file) {
					continue
				}
				if _, err := zip.Write(all[file]); err != nil {
					t.Fatal(err)
				}
			}
			if err := zip.Close(); err != nil {
				t.Fatal(err)
			}
			t.Logf("%d bytes compressed", packed.Len())
			if packed.Len() > c.most || packed.Len() < 100 {
				t.Errorf("it takes %d bytes compressed, the budget is %d", packed.Len(), c.most)
			}
		})
	}
}

// TestNothingFromOutside: the pages work without the Internet and under a policy that forbids inline code.
func TestNothingFromOutside(t *testing.T) {
	for name, own := range map[string][]string{
		"index.html":           {"portico.js", "portico.css"},
		"reference/index.html": {"reference.js", "reference.css"},
	} {
		t.Run(name, func(t *testing.T) {
			page := string(assets(t)[name])
			if !strings.Contains(page, "Content-Security-Policy\" content=\"default-src 'none'") {
				t.Error("no strict policy")
			}
			for what, pattern := range map[string]string{
				"inline script":  `<script(?:\s+(?:type|src|defer)(?:="[^"]*")?)*>\s*[^<\s]`,
				"inline style":   `<style|\sstyle=`,
				"inline handler": `\son[a-z]+=`,
				"foreign source": `(?:src|href)="(?:[a-z]+:)?//`,
			} {
				if found := regexp.MustCompile(pattern).FindString(page); found != "" {
					t.Errorf("%s: %q", what, found)
				}
			}
			for _, file := range own {
				if text := string(assets(t)[path.Join(path.Dir(name), file)]); text == "" || regexp.MustCompile(`https?://\w`).MatchString(text) {
					t.Errorf("%s is missing or names an address of its own", file)
				}
				if !strings.Contains(page, `"`+file+"?v=") {
					t.Errorf("the page does not name %s with its version", file)
				}
			}
		})
	}
}
