// Evaluation: from a merged proto to a validated spec.
#ifndef DASM_COMMON_SPEC_EVALUATION_READER_H_
#define DASM_COMMON_SPEC_EVALUATION_READER_H_

#include "common/spec/field_reader.h"
#include "common/spec/job_spec.h"
#include "dasm/v1/job.pb.h"

namespace dasm {

// What a job evaluates.
struct EvaluatedSet {
  // Parts that the name of an evaluation network leaves out are its.
  NetworkSpec network;
  bool evaluate_only = false;  // an existing set
  // Or unknown.
  bool several_segments = true;
};

EvaluationSpec ReadEvaluation(const v1::EvaluationSpec& from,
                              const EvaluatedSet& set, FieldReader* reader);

}  // namespace dasm

#endif  // DASM_COMMON_SPEC_EVALUATION_READER_H_
