// From a merged proto to validated structs, part by part: ranges and
// combinations. Every scalar of the proto is set, by the defaults at least.
#ifndef DASM_COMMON_SPEC_SPEC_READER_H_
#define DASM_COMMON_SPEC_SPEC_READER_H_

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

// `recipe`: CIFAR-100 is normalised otherwise by DC than by IDC.
DatasetSpec ReadDataset(const v1::DatasetSpec& from, Recipe recipe,
                        FieldReader* reader);
NetworkSpec ReadNetwork(const v1::NetworkSpec& from, FieldReader* reader);
// `later_segments` may follow the first.
GradientMatchingSpec ReadMatching(const v1::GradientMatching& from,
                                  bool later_segments, FieldReader* reader);
// Without segments in `from`, those of the default schedule: two halves up to
// 100 images per class, then segments of 50.
SequenceSpec ReadSequence(const v1::SequenceSpec& from, int images_per_class,
                          FieldReader* reader);
// Parts that a network's name leaves out are those of `job`.
EvaluationSpec ReadEvaluation(const v1::EvaluationSpec& from,
                              const NetworkSpec& job, bool evaluate_only,
                              FieldReader* reader);
// `norm` is the network's.
ExecutionSpec ReadExecution(const v1::ExecutionSpec& from, Norm norm,
                            FieldReader* reader);
// `distils` is false for an existing set.
ResourceSpec ReadResources(const v1::ResourceSpec& from,
                           const ExecutionSpec& execution, bool distils,
                           FieldReader* reader);
SyntheticSetSpec ReadSet(const v1::SyntheticSetSpec& from, FieldReader* reader);

}  // namespace dasm

#endif  // DASM_COMMON_SPEC_SPEC_READER_H_
