// Reads cases as JSON, and writes what the library says of each: a reason, "unchecked", or nothing.
package main

import (
	"encoding/json"
	"errors"
	"os"
	"strconv"
	"time"

	"sealgate/receipt"
)

type check struct {
	Receipt   []byte            `json:"receipt"`
	Policies  [][]byte          `json:"policies"`
	Fields    map[string]string `json:"fields"`
	RootKeys  []string          `json:"root_keys"`
	Threshold int               `json:"threshold"`
	Now       time.Time         `json:"now"`
	Since     time.Time         `json:"since"`
	Until     time.Time         `json:"until"`
	UnsafeV1  bool              `json:"unsafe_v1"`
}

type tensor struct {
	Name, Datatype string
	Shape          []int64
	Raw            []byte
}

type parameters struct {
	Parameters map[string]map[string]json.RawMessage
	Outputs    []string
}

func main() {
	var asked struct {
		Checks   []check
		Tensors  [][]tensor
		Requests []parameters
	}
	must(json.NewDecoder(os.Stdin).Decode(&asked))
	told := map[string][]string{"checks": {}, "tensors": {}, "requests": {}}
	for _, one := range asked.Checks {
		told["checks"] = append(told["checks"], said(one))
	}
	for _, tensors := range asked.Tensors {
		converted := []receipt.Tensor{}
		for _, item := range tensors {
			converted = append(converted, receipt.Tensor(item))
		}
		told["tensors"] = append(told["tensors"], receipt.TensorsDigest(converted...))
	}
	for _, request := range asked.Requests {
		digest, err := receipt.ParametersDigest(values(request.Parameters), request.Outputs...)
		must(err)
		told["requests"] = append(told["requests"], digest)
	}
	must(json.NewEncoder(os.Stdout).Encode(told))
}

func said(one check) string {
	call := receipt.Call{Fields: one.Fields, Since: one.Since, Until: one.Until, UnsafeV1: one.UnsafeV1}
	policy, err := receipt.OpenPolicyChain(one.Policies, one.RootKeys, one.Threshold, one.Now)
	var found *receipt.Verified
	if err == nil {
		found, err = policy.Check(one.Receipt, call)
	}
	var refusal *receipt.Refusal
	switch {
	case errors.As(err, &refusal) && found == nil:
		return refusal.Reason
	case err != nil:
		return err.Error()
	case len(found.Unchecked) > 0:
		return "unchecked"
	}
	return ""
}

// values are the parameters as the protocol's types.
func values(written map[string]map[string]json.RawMessage) map[string]any {
	found := map[string]any{}
	for name, choice := range written {
		found[name] = nil
		for kind, text := range choice {
			switch kind {
			case "bool_param":
				found[name] = read[bool](text)
			case "int64_param":
				number, err := strconv.ParseInt(read[string](text), 10, 64)
				must(err)
				found[name] = number
			case "string_param":
				found[name] = read[string](text)
			case "double_param":
				found[name] = read[float64](text)
			case "uint64_param":
				number, err := strconv.ParseUint(read[string](text), 10, 64)
				must(err)
				found[name] = number
			}
		}
	}
	return found
}

func read[T any](text []byte) (found T) {
	must(json.Unmarshal(text, &found))
	return found
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
