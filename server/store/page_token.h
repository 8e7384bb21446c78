// Where a list of jobs goes on: the key of the last job of a page, as an
// opaque URL-safe text that is bound to the filter that made it.
#ifndef DASM_SERVER_STORE_PAGE_TOKEN_H_
#define DASM_SERVER_STORE_PAGE_TOKEN_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/store/job_store.h"

namespace dasm {

struct PageKey {
  absl::Time create_time;
  std::string id;
};

std::string EncodePageToken(const JobFilter& filter, const PageKey& last);

// INVALID_ARGUMENT (field page_token) for what EncodePageToken did not give for
// this filter. A guard against mistakes, not a signature: a forged token reads
// no job that the filter does not.
absl::StatusOr<PageKey> DecodePageToken(const JobFilter& filter,
                                        const std::string& token);

}  // namespace dasm

#endif  // DASM_SERVER_STORE_PAGE_TOKEN_H_
