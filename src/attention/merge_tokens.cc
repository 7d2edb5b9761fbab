// SPDX-License-Identifier: Apache-2.0
#include "attention/merge_tokens.h"

#include <algorithm>
#include <cmath>

namespace nextscale {
namespace {

// Keys of length zero are similar to none.
constexpr double kSmallestLength = 1e-12;

double length_of(const float* key, int64_t head_dim) {
  return std::max(std::sqrt(dot(key, key, head_dim)), kSmallestLength);
}

class Merger {
 public:
  Merger(const kernels::KernelTable& kernels, Merge mode, const Candidates& candidates,
         MergeSpace& space)
      : kernels_(kernels),
        mode_(mode),
        candidates_(candidates),
        space_(space),
        head_dim_(candidates.head_dim) {}

  void begin(std::span<const int32_t> kept) {
    num_kept_ = kept.size();
    for (size_t index = 0; index < num_kept_; ++index) {
      const auto first = static_cast<int64_t>(index) * head_dim_;
      float* key = space_.kept_keys.data() + first;
      float* value = space_.kept_values.data() + first;
      candidates_.read(CandidatePart::kKeys, kept[index], key);
      candidates_.read(CandidatePart::kValues, kept[index], value);
      std::copy_n(key, head_dim_, space_.keys.data() + first);
      std::copy_n(value, head_dim_, space_.values.data() + first);
      const double factor = 1.0 / length_of(key, head_dim_);
      float* unit_key = space_.unit_keys.data() + first;
      for (int64_t feature = 0; feature < head_dim_; ++feature) {
        unit_key[feature] = static_cast<float>(factor * static_cast<double>(key[feature]));
      }
      space_.members[index] = 1;
    }
  }

  void add(int64_t evicted) {
    const int64_t first = num_waiting_ * head_dim_;
    candidates_.read(CandidatePart::kKeys, evicted, space_.block_keys.data() + first);
    candidates_.read(CandidatePart::kValues, evicted, space_.block_values.data() + first);
    if (++num_waiting_ == kMergeBlock) place_block();
  }

  // Merges the evicted tokens that wait, in their order.
  void place_block() {
    kernels_.nearest({.x = space_.block_keys.data(),
                      .count = num_waiting_,
                      .targets = space_.unit_keys.data(),
                      .num_targets = static_cast<int64_t>(num_kept_),
                      .width = head_dim_,
                      .nearest = space_.nearest.data(),
                      .products = space_.products.data(),
                      .workspace = space_.workspace});
    for (int64_t row = 0; row < num_waiting_; ++row) place(row);
    num_waiting_ = 0;
  }

  void write(const MergedTokens& out) {
    const size_t row_bytes =
        static_cast<size_t>(head_dim_) * dtype_bytes(candidates_.current.dtype);
    for (size_t index = 0; index < num_kept_; ++index) {
      write_mean(space_.keys, index, out.k + index * row_bytes);
      write_mean(space_.values, index, out.v + index * row_bytes);
      out.absorbed[index] = space_.members[index] > 1 ? 1 : 0;
    }
  }

 private:
  // What is added for an evicted row e going into r: factor * (e + share * r).
  struct Part {
    double factor = 1.0;
    double share = 0.0;
  };

  Part part_of(const float* key, float product) const {
    if (mode_ == Merge::kPivot) return {.factor = 0.5, .share = 1.0};
    if (mode_ == Merge::kAverage) return {};
    const double cosine = static_cast<double>(product) / length_of(key, head_dim_);
    return {.factor = cosine, .share = 0.0};
  }

  void place(int64_t row) {
    const float* key = space_.block_keys.data() + row * head_dim_;
    const float* value = space_.block_values.data() + row * head_dim_;
    const auto target = static_cast<size_t>(space_.nearest[static_cast<size_t>(row)]);
    const size_t first = target * static_cast<size_t>(head_dim_);
    const Part part = part_of(key, space_.products[static_cast<size_t>(row)]);
    add_row(key, part, space_.kept_keys.data() + first, space_.keys.data() + first);
    add_row(value, part, space_.kept_values.data() + first, space_.values.data() + first);
    ++space_.members[target];
  }

  void add_row(const float* row, const Part& part, const float* kept, double* sum) const {
    for (int64_t feature = 0; feature < head_dim_; ++feature) {
      const double from_kept = part.share * static_cast<double>(kept[feature]);
      sum[feature] += part.factor * (static_cast<double>(row[feature]) + from_kept);
    }
  }

  void write_mean(std::span<const double> sums, size_t index, void* out) {
    const double* sum = sums.data() + index * static_cast<size_t>(head_dim_);
    float* mean = space_.block_keys.data();
    const double factor = 1.0 / static_cast<double>(space_.members[index]);
    for (int64_t feature = 0; feature < head_dim_; ++feature) {
      mean[feature] = static_cast<float>(factor * sum[feature]);
    }
    store_row(space_.block_keys.data(), head_dim_, candidates_.current.dtype, out);
  }

  const kernels::KernelTable& kernels_;
  Merge mode_;
  const Candidates& candidates_;
  MergeSpace& space_;
  int64_t head_dim_;
  size_t num_kept_ = 0;
  int64_t num_waiting_ = 0;
};

}  // namespace

MergedTokens MergedTokens::take(Arena& arena, int64_t max_kept, int64_t head_dim, DType dtype) {
  const size_t row_bytes = static_cast<size_t>(head_dim) * dtype_bytes(dtype);
  const auto kept = static_cast<size_t>(max_kept);
  return {.k = arena.take<std::byte>(kept * row_bytes).data(),
          .v = arena.take<std::byte>(kept * row_bytes).data(),
          .absorbed = arena.take<uint8_t>(kept)};
}

size_t MergedTokens::bytes(int64_t max_kept, int64_t head_dim, DType dtype) {
  const size_t row_bytes = static_cast<size_t>(head_dim) * dtype_bytes(dtype);
  const auto kept = static_cast<size_t>(max_kept);
  return 2 * Arena::rounded(kept * row_bytes) + Arena::rounded(kept);
}

MergeSpace MergeSpace::take(Arena& arena, const kernels::KernelTable& kernels, int64_t max_kept,
                            int64_t head_dim) {
  const auto kept = static_cast<size_t>(max_kept);
  const auto features = static_cast<size_t>(max_kept * head_dim);
  const auto block_features = static_cast<size_t>(kMergeBlock * head_dim);
  return {.keys = arena.take<double>(features),
          .values = arena.take<double>(features),
          .kept_keys = arena.take<float>(features),
          .kept_values = arena.take<float>(features),
          .unit_keys = arena.take<float>(features),
          .members = arena.take<int32_t>(kept),
          .block_keys = arena.take<float>(block_features),
          .block_values = arena.take<float>(block_features),
          .nearest = arena.take<int32_t>(kMergeBlock),
          .products = arena.take<float>(kMergeBlock),
          .workspace = arena.take<std::byte>(kernels.nearest_workspace(head_dim))};
}

size_t MergeSpace::bytes(const kernels::KernelTable& kernels, int64_t max_kept, int64_t head_dim) {
  const auto kept = static_cast<size_t>(max_kept);
  const auto features = static_cast<size_t>(max_kept * head_dim);
  const auto block_features = static_cast<size_t>(kMergeBlock * head_dim);
  return 2 * Arena::rounded(features * sizeof(double)) +
         3 * Arena::rounded(features * sizeof(float)) + Arena::rounded(kept * sizeof(int32_t)) +
         2 * Arena::rounded(block_features * sizeof(float)) +
         Arena::rounded(kMergeBlock * sizeof(int32_t)) +
         Arena::rounded(kMergeBlock * sizeof(float)) +
         Arena::rounded(kernels.nearest_workspace(head_dim));
}

void merge_tokens(const kernels::KernelTable& kernels, Merge mode, const Candidates& candidates,
                  std::span<const int32_t> kept, MergeSpace& space, const MergedTokens& out) {
  Merger merger(kernels, mode, candidates, space);
  merger.begin(kept);
  size_t next = 0;
  for (int64_t position = 0; position < candidates.count(); ++position) {
    if (next < kept.size() && kept[next] == position) {
      ++next;
    } else {
      merger.add(position);
    }
  }
  merger.place_block();
  merger.write(out);
}

}  // namespace nextscale
