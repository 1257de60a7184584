package receipt

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

// Tensor is a tensor as it travels in raw contents.
type Tensor struct {
	Name, Datatype string
	Shape          []int64
	Raw            []byte
}

// TensorsDigest returns the digest that a receipt has as input or output, of tensors in any order.
func TensorsDigest(tensors ...Tensor) string {
	byName := func(one, other Tensor) int { return strings.Compare(one.Name, other.Name) }
	ordered := slices.SortedFunc(slices.Values(tensors), byName)
	data := counted([]byte("sealgate/tensors/v1\n"), len(ordered))
	for _, tensor := range ordered {
		data = sized(sized(data, []byte(tensor.Name)), []byte(tensor.Datatype))
		data = counted(data, len(tensor.Shape))
		for _, size := range tensor.Shape {
			data = binary.BigEndian.AppendUint64(data, uint64(size))
		}
		data = sized(data, tensor.Raw)
	}
	return fmt.Sprintf("sha256:%x", hash(data))
}

// ParametersDigest returns the digest that a receipt has as parameters: of a request's parameters, each
// a bool, int64, string, float64, uint64, or nil where none is set, and of the names of the outputs
// that the request asks for, in order.
func ParametersDigest(parameters map[string]any, outputs ...string) (string, error) {
	names := slices.Sorted(maps.Keys(parameters))
	data := counted([]byte("sealgate/parameters/v1\n"), len(names))
	for _, name := range names {
		kind, value := parameter(parameters[name])
		if kind > 5 {
			return "", &Refusal{"PARAMETER_MALFORMED", fmt.Sprintf("%s is a %T", name, parameters[name])}
		}
		data = sized(append(sized(data, []byte(name)), kind), value)
	}
	data = counted(data, len(outputs))
	for _, name := range outputs {
		data = sized(data, []byte(name))
	}
	return fmt.Sprintf("sha256:%x", hash(data)), nil
}

// parameter returns the protocol's number for a value's type, and the value as it is hashed.
func parameter(value any) (byte, []byte) {
	switch found := value.(type) {
	case nil:
		return 0, nil
	case bool:
		return 1, []byte{map[bool]byte{true: 1}[found]}
	case int64:
		return 2, binary.BigEndian.AppendUint64(nil, uint64(found))
	case string:
		return 3, []byte(found)
	case float64:
		return 4, binary.BigEndian.AppendUint64(nil, math.Float64bits(found))
	case uint64:
		return 5, binary.BigEndian.AppendUint64(nil, found)
	}
	return 255, nil
}

func counted(data []byte, count int) []byte {
	return binary.BigEndian.AppendUint64(data, uint64(count))
}

func sized(data, value []byte) []byte { return append(counted(data, len(value)), value...) }
