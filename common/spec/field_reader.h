// Reads fields of a merged proto and checks their ranges; shared by the readers
// of its parts (spec_reader.h and those beside it).
#ifndef DASM_COMMON_SPEC_FIELD_READER_H_
#define DASM_COMMON_SPEC_FIELD_READER_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/spec/job_spec.h"
#include "dasm/v1/job.pb.h"

namespace dasm {

// Reads fields and checks their ranges. The first thing that is wrong is
// remembered as INVALID_ARGUMENT naming its field; what is returned for it is
// of no use.
class FieldReader {
 public:
  const absl::Status& status() const { return status_; }

  void Refuse(const std::string& field, const std::string& what);
  // An error that another check found.
  void Refuse(const absl::Status& error);
  template <typename T>
  T Within(const std::string& field, T value, T low, T high) {
    if (value < low || value > high) {
      Refuse(field, absl::StrCat(value, " is outside ", low, " to ", high));
    }
    return value;
  }
  // Floats come back as the decimals that were written: 0.1f is meant as 0.1.
  double Number(const std::string& field, float value, double low, double high);
  // Above 0, at most `high`.
  double Positive(const std::string& field, float value, double high);
  // In [0, 1).
  double BelowOne(const std::string& field, float value);
  // At most `longest` bytes without control characters.
  std::string Text(const std::string& field, const std::string& value,
                   size_t longest);
  // A file that must be named.
  std::string Path(const std::string& field, bool set,
                   const std::string& value);
  // Sorted, since the order has no effect on what is computed.
  std::vector<Augmentation> Augmentations(
      const std::string& field,
      const google::protobuf::RepeatedField<int>& values);

 private:
  absl::Status status_;
};

}  // namespace dasm

#endif  // DASM_COMMON_SPEC_FIELD_READER_H_
