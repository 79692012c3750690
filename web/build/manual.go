package build

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Manual returns the library's documentation with its generated parts made anew from the folder web: behind a line <!-- reference FILE --> what a file of declarations says, behind
// <!-- example NAME --> an example, each up to the next line <!-- end -->.
func Manual(web string, text []byte) ([]byte, error) {
	var failed error
	text = generated.ReplaceAllFunc(text, func(part []byte) []byte {
		words := generated.FindSubmatch(part)
		made, err := makePart(web, string(words[1]), string(words[2]))
		if err != nil && failed == nil {
			failed = fmt.Errorf("make the manual: %w", err)
		}
		return fmt.Appendf(nil, "<!-- %s %s -->\n%s\n<!-- end -->", words[1], words[2], made)
	})
	return text, failed
}

var generated = regexp.MustCompile(`(?s)<!-- (reference|example) (\S+) -->\n.*?<!-- end -->`)

func makePart(web, kind, name string) (string, error) {
	if kind == "example" {
		text, err := os.ReadFile(filepath.Join(web, "client", "examples", name+".mjs"))
		return "\n```js\n" + strings.TrimSpace(string(text)) + "\n```\n", err
	}
	text, err := os.ReadFile(filepath.Join(web, "client", name))
	if err != nil {
		return "", err
	}
	all, err := declarations(string(text))
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	var out bytes.Buffer
	for _, d := range all {
		d.write(&out)
	}
	return out.String(), nil
}

// A declaration is one exported name of a file of declarations.
type declaration struct {
	name, line, about string
	base              string // what it extends; "" for nothing
	members           []member
}

// A member is one line of an interface or a class.
type member struct{ line, about string }

var (
	exported = regexp.MustCompile(`^export (?:declare )?(?:function|class|interface|type|const) (\w+)`)
	extends  = regexp.MustCompile(` extends (.+) \{`)
)

// declarations reads a file of declarations: comments of one or more lines, each in front of what it tells of, and members of one line.
func declarations(text string) (all []declaration, err error) {
	var about []string
	inside, comment := false, false
	for n, line := range strings.Split(text, "\n") {
		bare := strings.TrimSpace(line)
		switch {
		case comment || strings.HasPrefix(bare, "/**"):
			about, comment = append(about, said(bare)), !strings.HasSuffix(bare, "*/")
			continue
		case bare == "" || strings.HasPrefix(bare, "import "):
			continue
		case line == "}":
			inside = false
		case inside && strings.HasSuffix(bare, ";"):
			d := &all[len(all)-1]
			d.members = append(d.members, member{strings.TrimSuffix(bare, ";"), join(about)})
		case !inside && exported.MatchString(line):
			all = append(all, declare(line, join(about)))
			inside = strings.HasSuffix(line, "{")
		default:
			return nil, fmt.Errorf("line %d is not of a known form: %q", n+1, line)
		}
		about = nil
	}
	return all, nil
}

// said is what a line of a comment says.
func said(line string) string {
	line = strings.TrimSuffix(strings.TrimPrefix(line, "/**"), "*/")
	return strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "* "))
}

func join(lines []string) string { return strings.TrimSpace(strings.Join(lines, " ")) }

func declare(line, about string) declaration {
	d := declaration{name: exported.FindStringSubmatch(line)[1], line: strings.TrimSuffix(strings.TrimSuffix(line, " {}"), ";"), about: about}
	if found := extends.FindStringSubmatch(line); found != nil {
		d.base = found[1]
	}
	return d
}

// write writes the declaration as a section.
func (d declaration) write(out *bytes.Buffer) {
	fmt.Fprintf(out, "\n### %s\n\n%s\n", d.name, d.about)
	if !strings.HasSuffix(d.line, "{") && !strings.HasPrefix(d.line, "export interface") {
		fmt.Fprintf(out, "\n```ts\n%s\n```\n", strings.TrimPrefix(strings.TrimPrefix(d.line, "export "), "declare "))
	}
	if d.base != "" {
		fmt.Fprintf(out, "\nHas what `%s` has.\n", d.base)
	}
	if len(d.members) == 0 {
		return
	}
	out.WriteString("\n| member | |\n| --- | --- |\n")
	for _, m := range d.members {
		fmt.Fprintf(out, "| `%s` | %s |\n", strings.ReplaceAll(m.line, "|", `\|`), strings.ReplaceAll(m.about, "|", `\|`))
	}
}
