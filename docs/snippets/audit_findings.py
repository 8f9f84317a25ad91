import fieldguide

audit = fieldguide.audit("dataset/")
print(audit.num_images, "usable pictures:", dict(audit.images_per_class))
for finding in audit.findings:
    print(finding.severity, finding.kind, len(finding.paths), finding.message)
