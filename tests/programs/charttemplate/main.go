// What `helm template` does with a folder of templates, as far as the chart of gotax uses it: helm
// itself is a build of minutes, and tests/e2e has it. Standard input is the context as JSON, standard
// output a JSON list of the texts, the notes last. A function that is not here is an error.
package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"sort"
	"strings"
	"text/template"
)

type files struct{ chart string }

func (f files) Get(name string) (string, error) {
	text, err := os.ReadFile(filepath.Join(f.chart, name))
	return string(text), err
}

func text(value any) string {
	if value == nil {
		return ""
	}
	return fmt.Sprint(value)
}

func encoded(value any) string {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		panic(err)
	}
	return strings.TrimSpace(out.String())
}

// A line for each item: what is below them is JSON, which is YAML as well.
func yaml(value any) string {
	var lines []string
	switch held := value.(type) {
	case []any:
		for _, item := range held {
			lines = append(lines, "- "+encoded(item))
		}
	case map[string]any:
		for name, item := range held {
			lines = append(lines, encoded(name)+": "+encoded(item))
		}
		sort.Strings(lines)
	default:
		return encoded(value)
	}
	if lines == nil {
		return encoded(value)
	}
	return strings.Join(lines, "\n")
}

func number(value any) int {
	switch held := value.(type) {
	case float64:
		return int(held)
	case int:
		return held
	}
	panic(fmt.Sprintf("%v is no number", value))
}

func trunc(most int, from string) string {
	if len(from) <= most {
		return from
	}
	return from[:most]
}

func isEmpty(value any) bool {
	truth, _ := template.IsTrue(value)
	return !truth
}

func dig(arguments ...any) any {
	last := len(arguments) - 1
	found, usual := arguments[last], arguments[last-1]
	for _, name := range arguments[:last-1] {
		inner, ok := found.(map[string]any)
		if !ok || inner[name.(string)] == nil {
			return usual
		}
		found = inner[name.(string)]
	}
	return found
}

func has(wanted any, items []any) bool {
	return slices.ContainsFunc(items, func(item any) bool { return reflect.DeepEqual(item, wanted) })
}

func functions(all *template.Template, secrets map[string]any) template.FuncMap {
	return template.FuncMap{
		"include": func(name string, data any) (string, error) {
			var out bytes.Buffer
			err := all.ExecuteTemplate(&out, name, data)
			return out.String(), err
		},
		"nindent": func(spaces int, from string) string {
			padding := "\n" + strings.Repeat(" ", spaces)
			return padding + strings.ReplaceAll(from, "\n", padding)
		},
		"default": func(usual any, given ...any) any {
			if len(given) == 0 || isEmpty(given[0]) {
				return usual
			}
			return given[0]
		},
		"ternary": func(yes, no any, truth bool) any {
			if truth {
				return yes
			}
			return no
		},
		"sha256sum":    func(from string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(from))) },
		"b64enc":       func(from string) string { return base64.StdEncoding.EncodeToString([]byte(from)) },
		"randAlphaNum": func(length int) string { return strings.Repeat("x", length) },
		"lookup": func(_, _, _, name string) any {
			return secrets[name]
		},
		"semverCompare": func(constraint, version string) bool {
			var least, major, minor int
			fmt.Sscanf(constraint, ">=1.%d.0-0", &least)
			fmt.Sscanf(version, "v%d.%d", &major, &minor)
			return minor >= least
		},
		"regexMatch": func(pattern, from string) bool { return regexp.MustCompile(pattern).MatchString(from) },
		"contains":   func(part, whole string) bool { return strings.Contains(whole, part) },
		"replace":    func(old, new, from string) string { return strings.ReplaceAll(from, old, new) },
		"trimAll":    func(cut, from string) string { return strings.Trim(from, cut) },
		"list":       func(items ...any) []any { return items },
		"sub":        func(a, b any) int { return number(a) - number(b) },
		"quote":      func(value any) string { return fmt.Sprintf("%q", text(value)) },
		"toString":   text,
		"toJson": func(value any) (string, error) {
			written, err := json.Marshal(value)
			return string(written), err
		},
		"dict": func(pairs ...any) map[string]any {
			made := map[string]any{}
			for at := 0; at < len(pairs); at += 2 {
				made[pairs[at].(string)] = pairs[at+1]
			}
			return made
		},
		"merge": func(into map[string]any, others ...map[string]any) map[string]any {
			for _, other := range others {
				for name, value := range other {
					if _, is := into[name]; !is {
						into[name] = value
					}
				}
			}
			return into
		},
		"concat": func(lists ...[]any) []any { return slices.Concat(lists...) },
		"uniq": func(items []any) []any {
			var kept []any
			for _, item := range items {
				if !has(item, kept) {
					kept = append(kept, item)
				}
			}
			return kept
		},
		"has":   has,
		"fail":  func(reason string) (string, error) { return "", errors.New(reason) },
		"empty": isEmpty,
		"join": func(by string, items []any) string {
			texts := []string{}
			for _, item := range items {
				texts = append(texts, text(item))
			}
			return strings.Join(texts, by)
		},
		"trim":       strings.TrimSpace,
		"trimSuffix": func(end, from string) string { return strings.TrimSuffix(from, end) },
		"regexReplaceAll": func(pattern, from, by string) string {
			return regexp.MustCompile(pattern).ReplaceAllString(from, by)
		},
		"toYaml": yaml,
		"int":    number,
		"trunc":  trunc,
		"lower":  strings.ToLower,
		"dig":    dig,
	}
}

func main() {
	chart := os.Args[1]
	data := map[string]any{}
	if err := json.NewDecoder(os.Stdin).Decode(&data); err != nil {
		panic(err)
	}
	data["Files"] = files{chart}
	secrets, _ := data["Secrets"].(map[string]any) // of the cluster, by name
	all := template.New("").Option("missingkey=zero")
	all = template.Must(all.Funcs(functions(all, secrets)).ParseGlob(filepath.Join(chart, "templates", "*")))
	texts := []string{}
	rendered := func(each *template.Template) {
		var out bytes.Buffer
		if err := each.Execute(&out, data); err != nil {
			panic(err)
		}
		texts = append(texts, out.String())
	}
	for _, each := range all.Templates() {
		if strings.HasSuffix(each.Name(), ".yaml") {
			rendered(each)
		}
	}
	rendered(all.Lookup("NOTES.txt"))
	json.NewEncoder(os.Stdout).Encode(texts)
}
