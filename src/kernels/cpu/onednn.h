// SPDX-License-Identifier: Apache-2.0
// What the oneDNN kernels share: threads, errors, and running a primitive without allocating.
// Only src/kernels/cpu includes oneDNN, so that a change of its API stays in this folder.
#pragma once

#include <oneapi/dnnl/dnnl.hpp>
#include <span>

#include "core/context.h"
#include "core/tensor.h"

namespace nextscale::kernels::cpu {

// Keeps oneDNN from AMX, whose bf16 products of few rows are not bit for bit those rows of a larger
// product: pictures would depend on their batch. To be called before any other use of oneDNN.
// Where ONEDNN_MAX_CPU_ISA is set, it decides.
void limit_onednn();

// oneDNN takes its number of threads from OpenMP's setting of the calling thread, both when it
// plans a primitive and when it runs one. Sets it for a scope and puts the old one back.
class OneDnnThreads {
 public:
  explicit OneDnnThreads(int num_threads);
  ~OneDnnThreads();
  OneDnnThreads(const OneDnnThreads&) = delete;
  OneDnnThreads& operator=(const OneDnnThreads&) = delete;

 private:
  int saved_;
};

// Calls `body`; a refusal of oneDNN leaves as Error naming `part`.
[[noreturn]] void fail_onednn(const char* part, const dnnl::error& error);

template <typename Body>
auto with_onednn_errors(const char* part, Body&& body) {
  try {
    return body();
  } catch (const dnnl::error& error) {
    fail_onednn(part, error);
  }
}

// True if the error says that oneDNN has no implementation for this machine.
bool is_unimplemented(const dnnl::error& error);

// oneDNN's name of a type that weights have.
dnnl::memory::data_type onednn_type(DType dtype);

// Points a memory object at data that is not owned by oneDNN. The object itself is mutable state:
// two threads must not run primitives that share it.
void set_handle(const dnnl::memory& memory, const void* data);

// Runs a primitive through the C interface: the C++ one builds a map per call.
void execute(const dnnl::primitive& primitive, const dnnl::stream& stream,
             std::span<const dnnl_exec_arg_t> arguments);

// `source`, any float type or i8, in the layout and type that `packed` describes.
// `plain` describes source's layout; its type is taken from source.
Tensor pack_weight(const dnnl::engine& engine, const ConstTensorView& source,
                   const dnnl::memory::dims& dims, dnnl::memory::format_tag plain,
                   const dnnl::memory::desc& packed);

// The same for the matrix [out, in] of a product.
Tensor pack_matrix(const Context& context, const dnnl::engine& engine,
                   const ConstTensorView& source, const dnnl::memory::desc& packed);

}  // namespace nextscale::kernels::cpu
