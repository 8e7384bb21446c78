// The experts in the coordinator's store as resources: found, listed and
// described from the records of their train_experts actions. Reads only.
//
// A group (an action) is newest when its training ended last; lists go from
// there, experts of a group by number. Pages are keysets: what ends meanwhile
// neither moves nor repeats what was listed.
#ifndef DASM_SERVER_SERVICE_EXPERT_CATALOG_H_
#define DASM_SERVER_SERVICE_EXPERT_CATALOG_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "dasm/v1/expert.pb.h"
#include "server/job/records.h"
#include "server/service/expert_filter.h"
#include "server/store/job_store.h"

namespace dasm {

// One call's view; not thread-safe. Borrows the store. Errors of the store
// (UNAVAILABLE) come from every method.
class ExpertCatalog {
 public:
  explicit ExpertCatalog(JobStore* store) : store_(store) {}

  struct Found {
    ActionRecord group;
    int number = 0;  // 1, 2, ...
  };
  // By "experts/{group}-{number}", with the whole key or at least eight digits
  // of it.
  //   INVALID_ARGUMENT (`field`)  not such a name, or several groups fit
  //   NOT_FOUND
  absl::StatusOr<Found> Find(const std::string& name, const std::string& field);

  struct Page {
    std::vector<v1::Expert> experts;
    std::string next_page_token;
  };
  // INVALID_ARGUMENT (field filter or page_token).
  absl::StatusOr<Page> List(const std::string& filter, int page_size,
                            const std::string& page_token);
  // Keys of the groups with an expert that the filter chooses.
  absl::StatusOr<std::vector<std::string>> Select(const ExpertFilter& filter);

  absl::StatusOr<v1::Expert> Describe(const ActionRecord& group, int number,
                                      v1::ExpertView view);
  // All of a group, basic.
  absl::StatusOr<std::vector<v1::Expert>> DescribeAll(
      const ActionRecord& group);

 private:
  struct Dataset {
    std::string name;
    v1::DatasetSpec::Preprocessing preprocessing =
        v1::DatasetSpec::PREPROCESSING_NORMALIZE;
  };
  // Of the tasks that made the blob; empty name: none is known.
  absl::StatusOr<Dataset> DatasetOf(const std::string& digest);
  // The action of which the blob is an output; empty key: none.
  absl::StatusOr<ActionRecord> MakerOf(const std::string& digest);

  JobStore* const store_;
  std::map<std::string, Dataset> datasets_;  // by digest, read once
};

}  // namespace dasm

#endif  // DASM_SERVER_SERVICE_EXPERT_CATALOG_H_
