#include "common/spec/field_reader.h"

#include <algorithm>
#include <charconv>

#include "common/base/error.h"

namespace dasm {
namespace {

// The decimal that was written: 0.1f is meant as 0.1, not 0.100000001.
double Decimal(float value) {
  char buffer[32];
  const auto [end, error] =
      std::to_chars(buffer, buffer + sizeof(buffer), value);
  double result = 0;
  std::from_chars(buffer, end, result);
  return result;
}

Augmentation AugmentationOf(v1::Augmentation value) {
  switch (value) {
    case v1::AUGMENTATION_CROP:
      return Augmentation::kCrop;
    case v1::AUGMENTATION_CUTOUT:
      return Augmentation::kCutout;
    case v1::AUGMENTATION_FLIP:
      return Augmentation::kFlip;
    case v1::AUGMENTATION_SCALE:
      return Augmentation::kScale;
    case v1::AUGMENTATION_ROTATE:
      return Augmentation::kRotate;
    default:
      // CheckKnown let only known values through; NONE is handled before.
      return Augmentation::kColor;
  }
}

}  // namespace

void FieldReader::Refuse(const std::string& field, const std::string& what) {
  if (status_.ok()) status_ = InvalidField(field, what);
}

void FieldReader::Refuse(const absl::Status& error) { status_.Update(error); }

double FieldReader::Number(const std::string& field, float value, double low,
                           double high) {
  return Within(field, Decimal(value), low, high);
}

double FieldReader::Positive(const std::string& field, float value,
                             double high) {
  const double number = Decimal(value);
  if (!(number > 0 && number <= high)) {
    Refuse(field, absl::StrCat(number, " is outside 0 (excluded) to ", high));
  }
  return number;
}

double FieldReader::BelowOne(const std::string& field, float value) {
  const double number = Decimal(value);
  if (!(number >= 0 && number < 1)) {
    Refuse(field, absl::StrCat(number, " is outside 0 to 1 (excluded)"));
  }
  return number;
}

std::string FieldReader::Text(const std::string& field,
                              const std::string& value, size_t longest) {
  if (value.size() > longest) {
    Refuse(field,
           absl::StrCat("has ", value.size(), " bytes, above ", longest));
  }
  for (const char c : value) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      Refuse(field, "holds a control character");
      break;
    }
  }
  return value;
}

std::string FieldReader::Path(const std::string& field, bool set,
                              const std::string& value) {
  if (!set || value.empty()) {
    Refuse(field, "is required: a path below a --data folder");
  }
  return Text(field, value, 4096);
}

std::vector<Augmentation> FieldReader::Augmentations(
    const std::string& field,
    const google::protobuf::RepeatedField<int>& values) {
  std::vector<Augmentation> result;
  for (const int value : values) {
    if (value == v1::AUGMENTATION_NONE) {
      if (values.size() > 1) Refuse(field, "none must stand alone");
      return {};
    }
    result.push_back(AugmentationOf(static_cast<v1::Augmentation>(value)));
  }
  std::sort(result.begin(), result.end());
  if (std::adjacent_find(result.begin(), result.end()) != result.end()) {
    Refuse(field, "names an augmentation twice: remove one");
  }
  return result;
}

}  // namespace dasm
