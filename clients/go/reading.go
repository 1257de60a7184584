package receipt

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

const longestText = 4096

// Refusal says why something was not accepted: Reason is a name of docs/reference/reasons.md.
type Refusal struct{ Reason, Detail string }

func (r *Refusal) Error() string { return r.Reason + ": " + r.Detail }

// demand raises a Refusal, unless the condition holds; see caught.
func demand(holds bool, reason, detail string) {
	if !holds {
		panic(&Refusal{reason, detail})
	}
}

func wellFormed(holds bool, detail string) { demand(holds, "DOCUMENT_MALFORMED", detail) }

// caught runs a check; a Refusal that demand raises in it becomes the error.
func caught[T any](check func() *T) (found *T, err error) {
	defer func() {
		if raised := recover(); raised != nil {
			refusal, ours := raised.(*Refusal)
			if !ours {
				panic(raised)
			}
			err = refusal
		}
	}()
	return check(), nil
}

// Go escapes these two, and RFC 8785 does not. A pair of backslashes is passed over.
var unescape = strings.NewReplacer(`\\`, `\\`, `\u2028`, "\u2028", `\u2029`, "\u2029")

// decode returns the JSON value of data, if data is in the canonical form of RFC 8785. It is written
// again and compared, so that no other reader sees another value: of names that occur twice, say.
func decode(data []byte) (value any) {
	values := bytes.Count(data, []byte(",")) + bytes.Count(data, []byte("[")) + bytes.Count(data, []byte("{"))
	wellFormed(values < 1<<18 && json.Unmarshal(data, &value) == nil, "not JSON, or of too many values")
	var again bytes.Buffer
	encoder := json.NewEncoder(&again)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(value)
	canonical := unescape.Replace(strings.TrimSuffix(again.String(), "\n"))
	wellFormed(err == nil && canonical == string(data), "not JSON in its canonical form")
	return value
}

// record returns value if it is an object with exactly these names.
func record(value any, names ...string) map[string]any {
	found := object(value)
	for _, name := range names {
		_, has := found[name]
		wellFormed(has, "an object lacks "+name)
	}
	wellFormed(len(found) == len(names), "an object has fields that it must not have")
	return found
}

func object(value any) map[string]any {
	found, ok := value.(map[string]any)
	wellFormed(ok, "an object is expected")
	return found
}

func list(value any) []any {
	found, ok := value.([]any)
	wellFormed(ok, "a list is expected")
	return found
}

func text(value any, longest int) string {
	found, ok := value.(string)
	wellFormed(ok && utf8.RuneCountInString(found) <= longest, "a text is expected, or a shorter one")
	return found
}

// texts returns a list of texts, none of which occurs twice.
func texts(value any) (found []string) {
	for _, item := range list(value) {
		one := text(item, longestText)
		wellFormed(!slices.Contains(found, one), "a list names something twice")
		found = append(found, one)
	}
	return found
}

func integer(value any) int64 {
	found, _ := value.(float64)
	return number(strconv.FormatFloat(found, 'f', -1, 64))
}

// number reads a whole number below 2^53 in its one spelling.
func number(digits string) int64 {
	found, err := strconv.ParseInt(digits, 10, 64)
	wellFormed(err == nil && strconv.FormatInt(found, 10) == digits, "not a number in its one spelling")
	wellFormed(found >= 0 && found < 1<<53, "a whole number below 2^53 is expected")
	return found
}

func unhex(value any, size int) []byte {
	digits := text(value, longestText)
	data, err := hex.DecodeString(digits)
	wellFormed(err == nil && len(data) == size && hex.EncodeToString(data) == digits, "not hexadecimal digits")
	return data
}

// unbase64 reads base64 in its only spelling: Go's own reader skips line ends.
func unbase64(value any) []byte {
	encoded := text(value, 1<<24)
	data, err := base64.StdEncoding.DecodeString(encoded)
	wellFormed(err == nil && base64.StdEncoding.EncodeToString(data) == encoded, "not base64")
	return data
}

func hash(parts ...[]byte) []byte {
	digest := sha256.New()
	for _, part := range parts {
		digest.Write(part)
	}
	return digest.Sum(nil)
}
