package web_test

import (
	"bytes"
	"compress/gzip"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"portico/web"
	"portico/web/build"
)

// What each page may cost at most, compressed: the playground, which a newcomer sees first, and the reference with what it shares.
const (
	budget          = 20 << 10
	referenceBudget = 10 << 10
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
	built, err := build.Build("src")
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

func TestSize(t *testing.T) {
	for name, c := range map[string]struct {
		reference bool
		most      int
	}{"playground": {false, budget}, "reference": {true, referenceBudget}} {
		t.Run(name, func(t *testing.T) {
			var packed bytes.Buffer
			zip := gzip.NewWriter(&packed)
			for _, file := range slices.Sorted(maps.Keys(assets(t))) {
				if strings.HasPrefix(file, "reference/") != c.reference {
					continue
				}
				if _, err := zip.Write(assets(t)[file]); err != nil {
					t.Fatal(err)
				}
			}
			if err := zip.Close(); err != nil {
				t.Fatal(err)
			}
			if packed.Len() > c.most {
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
				if text := string(assets(t)[path.Join(path.Dir(name), file)]); text == "" || strings.Contains(text, "http://") || strings.Contains(text, "https://") {
					t.Errorf("%s is missing or names an address of its own", file)
				}
				if !strings.Contains(page, `"`+file+"?v=") {
					t.Errorf("the page does not name %s with its version", file)
				}
			}
		})
	}
}
