/* The C interface of libninfer-compiler.so: what ninfer-run and other programs without a compiler
   of their own open when they are given a model folder, asked for the eager engine, or need code
   for another CPU. Options, paths and bytes go in; a status, a message and bytes come out. No C++
   type crosses.

   runtime/compiler_library.h opens and wraps it. Every function may be called from any thread, one
   call on a handle at a time. Strings are UTF-8 and end in a zero byte. Tested by
   tests/compiler_test.cc and, with a library that answers wrongly, by
   tests/runtime_compiler_library_test.cc. */
#ifndef NINFER_COMPILER_NINFER_COMPILER_H_
#define NINFER_COMPILER_NINFER_COMPILER_H_

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* Raised by every change to this header that an older caller or library would misread. */
#define NINFER_COMPILER_INTERFACE 5

/* The only function whose meaning never changes: callers compare its result before they call
 * another. */
uint32_t ninfer_compiler_interface(void);
const char* ninfer_compiler_version(void); /* "0.1.0" */

enum {
  NINFER_OK = 0,
  NINFER_BAD_INPUT = 1, /* something that the user can mend; the message says what */
  NINFER_CANCELLED = 2, /* `cancelled` said so */
};

struct ninfer_result;

/* Each may be null. They are called from the thread of the call or from one that it started and
 * joins; `cancelled` also while another one runs. */
struct ninfer_callbacks {
  void* context;
  void (*log)(void* context, const char* line);   /* without its newline */
  void (*print)(void* context, const char* text); /* what --print-after asked for */
  void (*progress)(void* context, const char* phase, double done_of_one); /* "pack weights", 0.25 */
  int (*cancelled)(void* context);                                        /* not 0: stop soon */
  /* Of ninfer_compile alone: the code can run, and evidence is gathered next. `result` is what the
     call will give, but for the plan's evidence: its weights live as long as the call's own result,
     all else as long as this callback. Where it is null, evidence begins before code is made. */
  void (*linked)(void* context, const struct ninfer_result* result);
};

/* `options` is a JSON object; an unknown key is refused by name.
   Keys of ninfer_compile, all optional but one of the first three:
   - "model": folder or "hf:org/name[@revision]"
   - "from_ir": path of IR text, with "weights_from": folder
   - "random_weights": shape name or path of a config.json; "random_dtype": "bf16" | "f32" | "f16";
     "random_seed": number
   - "targets": ["native"]
   - "weights": "auto" | "f32" | "bf16" | "f16" | "int8" | "int4" | ... (base/quantise.def)
   - "weights_for": ["PATTERN=TYPE", or paths of JSON files of such pairs]
   - "activations": "auto" | "f32" | "bf16" | "int8" | "int8:row"
   - "kv_cache": "auto" | "f32" | "bf16" | "int8"
   - "attention": "flash" | "efficient" | "naive"
   - "context", "max_tokens", "max_sequences", "max_rows": numbers, 0 or absent for the default
   - "disable_passes": [names]; "stop_after": "pass" or "pass.rewrite"
   - "verify_each", "verbose": bool
   - "dump_ir", "dump_llvm", "dump_asm", "dump_cuda", "dump_ptx": folders
   - "print_before", "print_after": [names or "all"]; "print_changed": "diff"
   - "default_prompt": text for runs without a prompt
   - "quality", "calibrate": "bundled" | "sampled" | path of a text
   - "error_budget": "0.5%"; "error_budget_for": "size" | "speed"
   - "threads": number, 0 or absent for as many as can run at once
   ninfer_open_eager knows "model", "from_ir", "weights_from", "random_*", "weights", "weights_for",
   "activations", "kv_cache", "context", "disable_passes", "threads", "kv_pages" (a number) and
   "dump_tensors" (a regular expression of value names). ninfer_generate_code knows "targets",
   "dump_llvm", "dump_asm", "dump_cuda", "dump_ptx", "threads" and "verbose". ninfer_fetch_model is
   given the options of ninfer_compile. */
struct ninfer_request {
  uint32_t interface; /* NINFER_COMPILER_INTERFACE */
  const char* options;
  const uint8_t* sections; /* ninfer_generate_code: a plan, see ninfer_result */
  uint64_t sections_size;
  struct ninfer_callbacks callbacks;
};

struct ninfer_plan;  /* owns what a ninfer_result points to */
struct ninfer_eager; /* an eager executor */

/* `message` is empty when `status` is NINFER_OK, else one line. All pointers live until
   ninfer_release_result, which is called after every call, whatever its status. Callers zero the
   struct first. */
struct ninfer_result {
  int32_t status;
  const char* message;
  /* plan/FORMAT.md without the weights' data: plan::SerializeSections. ninfer_open_eager fills in
     only what it has: the metadata and the tokenizer. */
  const uint8_t* sections;
  uint64_t sections_size;
  const uint8_t* weights; /* aligned to 64 bytes at least, to 2 MiB where that is possible */
  uint64_t weights_size;
  const char* folder;         /* of ninfer_fetch_model */
  struct ninfer_plan* plan;   /* of every call */
  struct ninfer_eager* eager; /* of ninfer_open_eager; released by ninfer_release_eager */
};

void ninfer_compile(const struct ninfer_request* request, struct ninfer_result* result);

/* The same plan with code images for the targets asked for in place of its own: sections, no
 * weights. */
void ninfer_generate_code(const struct ninfer_request* request, struct ninfer_result* result);

/* The folder of "model" in `folder`: its own path, or of "hf:org/name[@revision]" the snapshot in
   huggingface_hub's cache, into which what was missing is fetched first. */
void ninfer_fetch_model(const struct ninfer_request* request, struct ninfer_result* result);

void ninfer_release_result(struct ninfer_result* result);

/* --- the eager interpreter as an executor: runtime/executor.h in C --- */

void ninfer_open_eager(const struct ninfer_request* request, struct ninfer_result* result);
void ninfer_release_eager(struct ninfer_eager* eager);

struct ninfer_kv_group {
  int64_t window, total_pages, pages_held;
};
struct ninfer_limits {
  int64_t max_tokens, max_sequences, max_rows, pages_per_sequence, page_positions;
  int64_t context_length;
  const struct ninfer_kv_group* kv_groups; /* [kv_group_count], living as long as the handle */
  int64_t kv_group_count;
  int64_t picture_columns;
  int32_t has_kv_cache;
  int32_t reserved; /* 0 */
};
void ninfer_eager_limits(const struct ninfer_eager* eager, struct ninfer_limits* limits);

struct ninfer_step {
  const int32_t* tokens;      /* [token_count] */
  const int32_t* positions;   /* [token_count] */
  const int32_t* rope_len;    /* [token_count] */
  const int32_t* seq_bounds;  /* [sequence_count + 1] */
  const int32_t* cached_lens; /* [sequence_count] */
  const int32_t* page_table;  /* [kv_group_count, sequence_count, pages_per_sequence] */
  const int32_t* rows;        /* [row_count] */
  int64_t token_count, sequence_count, pages_per_sequence, row_count, kv_group_count;
  const float* pictures;     /* [token_count, picture_columns], or null */
  const int32_t* is_picture; /* [token_count], or null */
};
/* `logits` receives [row_count, vocabulary] f32. The message of a failure lives until the next call
 * on `eager`. */
int32_t ninfer_eager_step(struct ninfer_eager* eager, const struct ninfer_step* step, float* logits,
                          const char** message);

struct ninfer_frame {
  const float* pixels;      /* [pixel_count] */
  const int32_t* patch_ids; /* [patch_count] */
  const int32_t* visible;   /* [patch_count] */
  const int32_t* shuffle;   /* [patch_count] */
  int64_t patch_count, pixel_count;
};
/* A frame of a picture, as runtime/executor.h's VisionInput; `rows` receives one for each square of
   patches. */
int32_t ninfer_eager_see(struct ninfer_eager* eager, const struct ninfer_frame* frame, float* rows,
                         const char** message);
void ninfer_eager_clear_page(struct ninfer_eager* eager, int32_t group, int32_t page);
int64_t ninfer_eager_bytes_per_token(const struct ninfer_eager* eager, int64_t cached);
int64_t ninfer_eager_cache_bytes(const struct ninfer_eager* eager, int64_t positions);
int64_t ninfer_eager_scratch_bytes(const struct ninfer_eager* eager);
/* Writes the tensors that "dump_tensors" matched in all steps so far as safetensors; rows of later
   steps follow those of earlier ones. */
int32_t ninfer_eager_write_dump(struct ninfer_eager* eager, const char* path, const char** message);

#pragma GCC visibility pop
#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* NINFER_COMPILER_NINFER_COMPILER_H_ */
