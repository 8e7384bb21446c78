#include "common/dataset/npy.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "common/base/status_macros.h"
#include "common/dataset/data_error.h"

namespace dasm {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr int kMaxDimensions = 8;
constexpr char kSave[] =
    "; save it with numpy.save(..., allow_pickle=False) as float32 or int64";

// Parses {'descr': '<f4', 'fortran_order': False, 'shape': (10, 3), }: the
// only Python that a .npy header is made of.
class HeaderParser {
 public:
  explicit HeaderParser(std::string_view text) : text_(text) {}

  struct Fields {
    std::optional<std::string> descr;
    std::optional<bool> fortran_order;
    std::optional<std::vector<int64_t>> shape;
  };

  std::optional<Fields> Parse() {
    Fields fields;
    if (!Take('{')) return std::nullopt;
    while (!Take('}')) {
      const auto key = String();
      if (!key || !Take(':')) return std::nullopt;
      if (*key == "descr" && !fields.descr) {
        // A list here is a structured type.
        fields.descr = String();
        if (!fields.descr) return std::nullopt;
      } else if (*key == "fortran_order" && !fields.fortran_order) {
        if (TakeWord("True")) {
          fields.fortran_order = true;
        } else if (TakeWord("False")) {
          fields.fortran_order = false;
        } else {
          return std::nullopt;
        }
      } else if (*key == "shape" && !fields.shape) {
        fields.shape = Shape();
        if (!fields.shape) return std::nullopt;
      } else {
        return std::nullopt;
      }
      if (!Take(',')) {
        if (!Take('}')) return std::nullopt;
        break;
      }
    }
    SkipSpace();
    if (!text_.empty() || !fields.descr || !fields.fortran_order ||
        !fields.shape) {
      return std::nullopt;
    }
    return fields;
  }

 private:
  void SkipSpace() {
    while (!text_.empty() && (text_[0] == ' ' || text_[0] == '\n')) {
      text_.remove_prefix(1);
    }
  }
  bool Take(char c) {
    SkipSpace();
    if (text_.empty() || text_[0] != c) return false;
    text_.remove_prefix(1);
    return true;
  }
  bool TakeWord(std::string_view word) {
    SkipSpace();
    if (text_.substr(0, word.size()) != word) return false;
    text_.remove_prefix(word.size());
    return true;
  }
  std::optional<std::string> String() {
    SkipSpace();
    if (text_.empty() || (text_[0] != '\'' && text_[0] != '"')) {
      return std::nullopt;
    }
    const size_t end = text_.find(text_[0], 1);
    if (end == std::string_view::npos) return std::nullopt;
    std::string value(text_.substr(1, end - 1));
    text_.remove_prefix(end + 1);
    return value;
  }
  std::optional<std::vector<int64_t>> Shape() {
    if (!Take('(')) return std::nullopt;
    std::vector<int64_t> shape;
    while (!Take(')')) {
      const auto side = Integer();
      if (!side || static_cast<int>(shape.size()) == kMaxDimensions) {
        return std::nullopt;
      }
      shape.push_back(*side);
      if (!Take(',')) {
        if (!Take(')')) return std::nullopt;
        break;
      }
    }
    return shape;
  }
  std::optional<int64_t> Integer() {
    SkipSpace();
    size_t digits = 0;
    int64_t value = 0;
    while (digits < text_.size() && text_[digits] >= '0' &&
           text_[digits] <= '9') {
      if (++digits > 15) return std::nullopt;
      value = value * 10 + (text_[digits - 1] - '0');
    }
    if (digits == 0) return std::nullopt;
    text_.remove_prefix(digits);
    return value;
  }

  std::string_view text_;
};

int64_t SizeOfType(NpyHeader::Type type) {
  return type == NpyHeader::Type::kF4 || type == NpyHeader::Type::kI4 ? 4 : 8;
}

template <typename T>
T ElementAt(std::string_view data, int64_t i) {
  T value;
  std::memcpy(&value, data.data() + i * sizeof(T), sizeof(T));
  return value;
}

// "[3, 0, 12, 7]" of element `i`.
std::string IndexText(const std::vector<int64_t>& shape, int64_t i) {
  std::vector<int64_t> index(shape.size());
  for (int d = static_cast<int>(shape.size()) - 1; d >= 0; --d) {
    index[d] = i % shape[d];
    i /= shape[d];
  }
  return absl::StrCat("[", absl::StrJoin(index, ", "), "]");
}

template <typename T>
absl::StatusOr<std::vector<float>> Floats(const NpyHeader& header,
                                          std::string_view data,
                                          const std::string& name) {
  std::vector<float> values(header.elements);
  for (int64_t i = 0; i < header.elements; ++i) {
    const T value = ElementAt<T>(data, i);
    // Checked first: a double beyond float's range is undefined to convert.
    if (!(std::abs(value) <= std::numeric_limits<float>::max())) {
      return DataError(
          name, absl::StrFormat("%s at index %s; only finite values can be "
                                "used",
                                std::isnan(value)   ? "NaN"
                                : std::isinf(value) ? "infinity"
                                                    : "a value beyond float32",
                                IndexText(header.shape, i)));
    }
    values[i] = static_cast<float>(value);
  }
  return values;
}

}  // namespace

absl::StatusOr<NpyHeader> ParseNpyHeader(std::string_view bytes, int64_t size,
                                         const std::string& name) {
  constexpr std::string_view kMagic = "\x93NUMPY";
  if (bytes.size() < 12 || bytes.substr(0, 6) != kMagic) {
    return DataError(name, absl::StrCat("not a .npy array", kSave));
  }
  const int version = static_cast<uint8_t>(bytes[6]);
  if (version < 1 || version > 3) {
    return DataError(
        name, absl::StrFormat(".npy of unknown version %d%s", version, kSave));
  }
  const int64_t start = version == 1 ? 10 : 12;
  const int64_t length = version == 1 ? ElementAt<uint16_t>(bytes.substr(8), 0)
                                      : ElementAt<uint32_t>(bytes.substr(8), 0);
  if (start + length > static_cast<int64_t>(bytes.size())) {
    return DataError(name, "truncated or overlong .npy header; save it again");
  }
  const auto fields = HeaderParser(bytes.substr(start, length)).Parse();
  if (!fields) {
    return DataError(name,
                     absl::StrCat(".npy header that is not understood", kSave));
  }
  NpyHeader header;
  const std::string& type = *fields->descr;
  if (type == "<f4") {
    header.type = NpyHeader::Type::kF4;
  } else if (type == "<f8") {
    header.type = NpyHeader::Type::kF8;
  } else if (type == "<i4") {
    header.type = NpyHeader::Type::kI4;
  } else if (type == "<i8") {
    header.type = NpyHeader::Type::kI8;
  } else {
    return DataError(
        name, absl::StrFormat("elements of type %s%s", type,
                              type.find('O') != std::string::npos
                                  ? " (pickled objects are never read): save "
                                    "float32 images and int64 labels"
                                  : "; float32, float64, int32 and int64 are "
                                    "read, little endian"));
  }
  if (*fields->fortran_order && fields->shape->size() > 1) {
    return DataError(name,
                     "in Fortran order; save numpy.ascontiguousarray(array)");
  }
  header.shape = *fields->shape;
  header.data_offset = start + length;
  header.elements = 1;
  const int64_t most = (size - header.data_offset) / SizeOfType(header.type);
  for (int64_t side : header.shape) {
    if (side == 0) return DataError(name, "an empty array");
    if (header.elements > most / side) {
      return DataError(name,
                       "truncated: shorter than its shape; save it "
                       "again");
    }
    header.elements *= side;
  }
  if (header.data_offset + header.elements * SizeOfType(header.type) != size) {
    return DataError(name, "longer or shorter than its shape; save it again");
  }
  return header;
}

absl::StatusOr<std::vector<float>> NpyFloats(const NpyHeader& header,
                                             std::string_view bytes,
                                             const std::string& name) {
  const std::string_view data = bytes.substr(header.data_offset);
  switch (header.type) {
    case NpyHeader::Type::kF4:
      return Floats<float>(header, data, name);
    case NpyHeader::Type::kF8:
      return Floats<double>(header, data, name);
    case NpyHeader::Type::kI4:
    case NpyHeader::Type::kI8:
      break;
  }
  return DataError(name, "integers where float32 or float64 are needed");
}

absl::StatusOr<std::vector<int64_t>> NpyIntegers(const NpyHeader& header,
                                                 std::string_view bytes,
                                                 const std::string& name) {
  const std::string_view data = bytes.substr(header.data_offset);
  std::vector<int64_t> values(header.elements);
  switch (header.type) {
    case NpyHeader::Type::kI4:
      for (int64_t i = 0; i < header.elements; ++i) {
        values[i] = ElementAt<int32_t>(data, i);
      }
      return values;
    case NpyHeader::Type::kI8:
      for (int64_t i = 0; i < header.elements; ++i) {
        values[i] = ElementAt<int64_t>(data, i);
      }
      return values;
    case NpyHeader::Type::kF4:
    case NpyHeader::Type::kF8:
      break;
  }
  return DataError(name, "floats where int64 or int32 are needed");
}

}  // namespace dasm
